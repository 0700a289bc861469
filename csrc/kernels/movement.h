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

}  // namespace pydl::kernels
