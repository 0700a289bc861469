// Rotary positional embedding (Su et al. 2021, arXiv:2104.09864): the D values of each head at step
// t, as pairs, are turned by angles that grow with t.
//
//   y[i] = x[i] cos[t, i] + x[partner(i)] sin[t, i]
//
// Pairs are (2 i, 2 i + 1) or, in halves, (i, i + D / 2). The tables (T, D) hold each pair's angle
// twice, the first sine of a pair negated.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct RotaryShape {
  int64_t batch, steps, heads, size;  // N, T, H, D; D is even
  int64_t x_stride, y_stride;         // elements between rows (n, t); at least H D
  bool halves;
};

struct RotaryKernels {
  // `back`: by the opposite angles, which is also the gradient. y may be x, with one stride.
  void (*rotate)(const RotaryShape&, bool back, const float* cos, const float* sin, ConstArray x,
                 Array y);
};

const RotaryKernels& rotary_kernels();

}  // namespace pydl::kernels
