// Sums along the rows of a matrix and their gradients, and sums over repeats.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct ReduceKernels {
  // y[r] = factor * the sum over row r of x (rows, n), of its absolute values or its squares.
  void (*sum)(int64_t rows, int64_t n, float factor, const float* x, float* y);
  void (*asum)(int64_t rows, int64_t n, float factor, const float* x, float* y);
  void (*sumsq)(int64_t rows, int64_t n, float factor, const float* x, float* y);
  // dx (rows, n) from factor (rows): factor, factor sign(x) with 0 at 0, 2 factor x.
  void (*sum_backward)(int64_t rows, int64_t n, const float* factor, float* dx);
  void (*asum_backward)(int64_t rows, int64_t n, const float* factor, const float* x, float* dx);
  void (*sumsq_backward)(int64_t rows, int64_t n, const float* factor, const float* x, float* dx);
  // y (outer, inner) = the sum over the middle axis of x (outer, n, inner).
  void (*sum_middle)(int64_t outer, int64_t n, int64_t inner, ConstArray x, Array y);
};

const ReduceKernels& reduce_kernels();

}  // namespace pydl::kernels
