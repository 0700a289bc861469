// Which axes of x the blob of a Scale or Bias layer is for.
#pragma once

#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

// The shape of a learned blob for `num_axes` axes of x (-1: all that follow) from `axis` on.
inline Shape affine_shape(const Blob& x, int axis, int num_axes) {
  if (num_axes == 0) return {};
  const int begin = x.CanonicalAxis(axis);
  check(num_axes >= -1 && num_axes <= x.axes() - begin, "num_axes ", num_axes, " from axis ", begin,
        " on is out of range for its bottom of shape ", shape_text(x.shape()));
  const auto from = x.shape().begin() + begin;
  return Shape(from, num_axes < 0 ? x.shape().end() : from + num_axes);
}

// x as (outer, the axes of w, inner); w's shape must be x's from `axis` on. For a scalar w it is
// (1, 1, all).
struct AffineAxes {
  AffineAxes() = default;
  AffineAxes(const Blob& x, int axis, const Blob& w) : begin(0), axes(w.axes()) {
    if (axes > 0) begin = x.CanonicalAxis(axis);
    bool fits = begin + axes <= x.axes();
    for (int i = 0; fits && i < axes; ++i) fits = x.shape(begin + i) == w.shape(i);
    check(fits, "its factors or biases of shape ", shape_text(w.shape()),
          " do not fit its bottom of shape ", shape_text(x.shape()), " from axis ", begin, " on");
  }

  Layouts layouts() const {
    return axes == 0 || (axes == 1 && begin == 1) ? Layouts::kAny : Layouts::kPlain;
  }
  AxisView view(const Blob& x, Layout layout) const {
    if (axes == 0) return {1, 1, x.count()};
    if (axes == 1) return axis_view(x, begin, layout);
    return {x.count(0, begin), x.count(begin, begin + axes), x.count(begin + axes)};
  }

  int begin = 1, axes = 1;
};

}  // namespace pydl
