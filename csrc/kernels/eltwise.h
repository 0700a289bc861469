// Vectors: arithmetic, sums, and the per-channel affine map. Outputs may be inputs (in place).
//
// Here, as in all families: the arrays (ConstArray, Array) of a call are all float32 or all
// bfloat16; arithmetic is in float32, results are rounded to the nearest once.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct EltwiseKernels {
  void (*fill)(int64_t n, float value, Array y);
  void (*scale)(int64_t n, float a, ConstArray x, Array y);  // y = a x
  // y = a x + b y; with b = 0 y is written without being read.
  void (*axpby)(int64_t n, float a, ConstArray x, float b, Array y);
  void (*add)(int64_t n, ConstArray a, ConstArray b, Array y);       // y = a + b
  void (*add_relu)(int64_t n, ConstArray a, ConstArray b, Array y);  // y = max(a + b, 0)
  void (*mul)(int64_t n, ConstArray a, ConstArray b, Array y);       // y = a b
  void (*div)(int64_t n, ConstArray a, ConstArray b, Array y);       // y = a / b
  // Eltwise MAX of two. index[i] = first where a > b, else second (ties go to the second);
  void (*max2)(int64_t n, ConstArray a, ConstArray b, int32_t first, int32_t second, Array y,
               int32_t* index);
  // ... and of a further bottom: where x > y strictly, y = x and index = which.
  void (*max_with)(int64_t n, ConstArray x, int32_t which, Array y, int32_t* index);
  void (*select)(int64_t n, ConstArray dy, const int32_t* index, int32_t which,
                 Array dx);  // index == which ? dy : 0
  // Sums: of short blocks in float, of those in double (the reference: all in double), in an order
  // that does not depend on the number of threads.
  double (*sum)(int64_t n, ConstArray x);
  double (*asum)(int64_t n, ConstArray x);   // sum |x|
  double (*sumsq)(int64_t n, ConstArray x);  // sum x^2
  double (*dot)(int64_t n, ConstArray a, ConstArray b);
  // y = x scale[c] + bias[c]; x: (outer, channels, inner). scale or bias may be null.
  void (*affine_forward)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                         const float* scale, const float* bias, Array y);
  // y = x scale[c] + z; x, z, y: (outer, channels, inner).
  void (*multiply_add)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                       const float* scale, ConstArray z, Array y);
  // dscale[c] += sum dy x, dbias[c] += sum dy; either may be null.
  void (*affine_backward_params)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                                 ConstArray dy, float* dscale, float* dbias);
  // Copies `rows` rows of `row` floats, between arrays of the given row strides.
  void (*copy_rows)(int64_t rows, int64_t row, ConstArray x, int64_t x_stride, Array y,
                    int64_t y_stride);
  // (n, c, s) <-> (n, s, c)
  void (*to_channels_last)(int64_t n, int64_t c, int64_t s, ConstArray x, Array y);
  void (*to_plain)(int64_t n, int64_t c, int64_t s, ConstArray x, Array y);
  // y = x, in the type of y: to the nearest bfloat16, ties to even.
  void (*convert)(int64_t n, ConstArray x, Array y);
};

const EltwiseKernels& eltwise_kernels();

}  // namespace pydl::kernels
