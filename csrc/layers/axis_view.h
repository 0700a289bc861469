// A blob as (outer, channels, inner) around one of its axes, the shape that most kernels take.
#pragma once

#include "core/check.h"
#include "pydl/blob.h"

namespace pydl {

struct AxisView {
  int64_t outer, channels, inner;
};

// Plain: the axes before `axis`, that one, and those after it. Channels-last, which goes with axis
// 1 alone: (N * S, C, 1).
inline AxisView axis_view(const Blob& blob, int axis, Layout layout) {
  const int64_t outer = blob.count(0, axis), inner = blob.count(axis + 1);
  if (layout == Layout::kPlain) return {outer, blob.shape(axis), inner};
  check(axis == 1, "worked along axis 1 when the net was built, but its bottom of shape ",
        shape_text(blob.shape()), " now makes it axis ", axis);
  return {outer * inner, blob.shape(axis), 1};
}

}  // namespace pydl
