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
  void (*abs_forward)(int64_t n, ConstArray x, Array y);
  void (*abs_backward)(int64_t n, ConstArray x, ConstArray dy, Array dx);  // 0 at x = 0
  void (*bnll_forward)(int64_t n, ConstArray x, Array y);                  // log(1 + exp(x))
  void (*bnll_backward)(int64_t n, ConstArray x, ConstArray dy, Array dx);
  void (*clip_forward)(int64_t n, ConstArray x, float min, float max, Array y);
  // dy where min <= x <= max, else 0
  void (*clip_backward)(int64_t n, ConstArray x, ConstArray dy, float min, float max, Array dx);
  void (*exp_forward)(int64_t n, ConstArray x, float scale, float factor,
                      Array y);  // factor exp(scale x)
  void (*exp_backward)(int64_t n, ConstArray y, ConstArray dy, float scale, Array dx);
  void (*log_forward)(int64_t n, ConstArray x, float scale, float shift, float factor,
                      Array y);  // factor log(scale x + shift)
  // factor dy / (scale x + shift)
  void (*log_backward)(int64_t n, ConstArray x, ConstArray dy, float scale, float shift,
                       float factor, Array dx);
  // (scale x + shift)^power, as C's pow()
  void (*power_forward)(int64_t n, ConstArray x, float scale, float shift, float power, Array y);
  // factor dy (scale x + shift)^power: to the power of forward less one
  void (*power_backward)(int64_t n, ConstArray x, ConstArray dy, float scale, float shift,
                         float power, float factor, Array dx);
  void (*swish_forward)(int64_t n, ConstArray x, float beta, Array y);  // x sigmoid(beta x)
  void (*swish_backward)(int64_t n, ConstArray x, ConstArray dy, float beta, Array dx);
  // min(max(x, 0), 6), but negative_slope x for x < 0
  void (*relu6_forward)(int64_t n, ConstArray x, float negative_slope, Array y);
  // y: the output or the input. The gradient is 0 at exactly 6, negative_slope at exactly 0.
  void (*relu6_backward)(int64_t n, ConstArray y, ConstArray dy, float negative_slope, Array dx);
  void (*hard_swish_forward)(int64_t n, ConstArray x, Array y);  // x min(max(x + 3, 0), 6) / 6
  void (*hard_swish_backward)(int64_t n, ConstArray x, ConstArray dy, Array dx);
  void (*mish_forward)(int64_t n, ConstArray x, Array y);  // x tanh(log(1 + exp(x)))
  void (*mish_backward)(int64_t n, ConstArray x, ConstArray dy, Array dx);
  void (*threshold)(int64_t n, ConstArray x, float threshold, Array y);  // x > threshold ? 1 : 0
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
