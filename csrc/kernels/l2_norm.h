// Rows divided by their length (Liu et al. 2015, ParseNet, arXiv:1506.04579), with a factor per
// channel.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

// x: (rows, positions, channels). A row is normalised as a whole.
struct L2NormShape {
  int64_t rows, positions, channels;
};

struct L2NormKernels {
  // norm[r] = sqrt(eps + the sum of x^2 over row r); y = factor scale[channel] x / norm.
  void (*forward)(const L2NormShape&, ConstArray x, float eps, const float* scale, float factor,
                  float* norm, Array y);
  // dx = factor (g - x sum(g x) / norm^2) / norm with g = scale dy and the sum over the row, in
  // SSD's order of operations: with one channel nothing but rounding is left.
  // dscale += the sum of dy x / norm per channel, over all rows and positions, in an order that
  // does not depend on the number of threads. dx or dscale may be null; dx may be dy.
  void (*backward)(const L2NormShape&, ConstArray x, const float* scale, float factor,
                   const float* norm, ConstArray dy, Array dx, float* dscale);
};

const L2NormKernels& l2_norm_kernels();

}  // namespace pydl::kernels
