// The bottoms of layers that take normal distributions: means and logs of variances.
#pragma once

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

inline void check_gaussian_bottoms(const Blobs& bottom) {
  check(bottom[0]->shape() == bottom[1]->shape(),
        "its bottoms, means and logs of variances, must have one shape, but are ",
        shape_text(bottom[0]->shape()), " and ", shape_text(bottom[1]->shape()));
}

}  // namespace pydl
