// Activations, element by element. y may be x, and dx may be dy (in place).
// Backward passes take y where that is enough, so that x may have been overwritten.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct ActivationKernels {
  void (*relu_forward)(int64_t n, ConstArray x, float negative_slope, Array y);
  // y: the output, or the input: the sign of either serves as long as negative_slope >= 0.
  // The gradient at exactly 0 is negative_slope.
  void (*relu_backward)(int64_t n, ConstArray y, ConstArray dy, float negative_slope, Array dx);
  void (*sigmoid_forward)(int64_t n, ConstArray x, Array y);
  void (*sigmoid_backward)(int64_t n, ConstArray y, ConstArray dy, Array dx);
  void (*tanh_forward)(int64_t n, ConstArray x, Array y);
  void (*tanh_backward)(int64_t n, ConstArray y, ConstArray dy, Array dx);
  // x > 0 ? x : alpha (exp(x) - 1)
  void (*elu_forward)(int64_t n, ConstArray x, float alpha, Array y);
  // x: the input, or in place the output. x > 0 ? dy : dy (y + alpha)
  void (*elu_backward)(int64_t n, ConstArray x, ConstArray y, ConstArray dy, float alpha, Array dx);
  // x, y: (outer, channels, inner); slope: (channels), or (1) with channels = 1.
  void (*prelu_forward)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                        const float* slope, Array y);
  // The gradient at 0 is slope; dslope (may be null) +=, and gets nothing from x = 0.
  // dx may be null.
  void (*prelu_backward)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                         const float* slope, ConstArray dy, Array dx, float* dslope);
  // Keeps each element with probability 1 - ratio, scaled by 1 / (1 - ratio). Element i is kept
  // as a function of (seed, stream, i) alone (Philox, core/random.h), so that backward is the same
  // call on dy, and nothing depends on the number of threads.
  void (*dropout)(int64_t n, ConstArray x, float ratio, uint64_t seed, uint64_t stream, Array y);
};

const ActivationKernels& activation_kernels();

}  // namespace pydl::kernels
