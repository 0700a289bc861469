// Fields that say which anchors there are.
#pragma once

#include <vector>

#include "core/check.h"
#include "pydl/fields.h"

namespace pydl {

constexpr const char* kStrideHelp = "pixels of the image from one position to the next";
constexpr const char* kBaseHelp = "side of the square that anchors are made from";
constexpr const char* kRatioHelp = "height of an anchor / its width; 0.5, 1 and 2 if absent";
constexpr const char* kScaleHelp = "side of an anchor / base_size; 8, 16 and 32 if absent";

template <class P>
void check_anchor_params(const P& p) {
  check(p.feat_stride > 0 && p.base_size > 0, "feat_stride and base_size must be positive, got ",
        p.feat_stride, " and ", p.base_size);
  for (const float ratio : p.ratio) check(ratio > 0, "ratio must be positive, got ", ratio);
  for (const float scale : p.scale) check(scale > 0, "scale must be positive, got ", scale);
}

}  // namespace pydl
