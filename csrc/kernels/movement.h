// Copies of parts of arrays, for layers that move values about. They are bound by memory, so that
// there is one build of them for all instruction sets.
#pragma once

#include <cstdint>
#include <vector>

#include "pydl/array.h"

namespace pydl::kernels {

// y (outer, times, n) = x (outer, n), of one type.
void repeat_rows(int64_t outer, int64_t n, int64_t times, ConstArray x, Array y);

// A box of some axes: `shape` elements, `x_stride` and `y_stride` apart along each in two arrays.
struct Box {
  std::vector<int64_t> shape, x_stride, y_stride;
};

// The elements of a box of x to those of y, of one type.
void copy_box(const Box& box, ConstArray x, Array y);

// Of each plane of y (n, c, out) the elements that `index` (n, c, in) names get those of x, of
// index's shape; the others stay as they are, and of several for one place the last one stays.
// channels_last: (n, in, c) and (n, out, c). False if an index is not in [0, out); as in Caffe, it
// is cut to an integer.
struct PlaneShape {
  int64_t n, c, in, out;
  bool channels_last;
};
bool scatter_in_planes(const PlaneShape& s, const float* x, const float* index, float* y);
// The other way: x gets the element of y that its index names.
bool gather_in_planes(const PlaneShape& s, const float* y, const float* index, float* x);

}  // namespace pydl::kernels
