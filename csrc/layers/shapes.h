// Small messages that several layers have among their parameters.
#pragma once

#include <vector>

#include "pydl/fields.h"

namespace pydl {

struct BlobShape {
  std::vector<int64_t> dim;

  static auto fields() {
    return Fields("shape", Field("dim", &BlobShape::dim, "sizes of the axes, outermost first"));
  }
};

}  // namespace pydl
