// Activations, element by element. y may be x, and dx may be dy (in place).
// Backward passes take y where that is enough, so that x may have been overwritten.
#pragma once

#include <cstdint>
#include <vector>

#include "pydl/array.h"

namespace pydl::kernels {

// SELU's constants (Klambauer et al. 2017, arXiv:1706.02515).
constexpr double kSeluAlpha = 1.6732632423543772, kSeluScale = 1.0507009873554805;

// x in C order, and how far elements of the mask lie apart along each axis: 0 where they are one.
struct MaskShape {
  std::vector<int64_t> sizes, strides;  // the last stride is 0 or 1
};

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
  // x Phi(x), the normal distribution's, or, with `tanh`,
  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  void (*gelu_forward)(int64_t n, ConstArray x, bool tanh, Array y);
  void (*gelu_backward)(int64_t n, ConstArray x, ConstArray dy, bool tanh, Array dx);
  // log(1 + exp(beta x)) / beta; x itself where beta x > threshold
  void (*softplus_forward)(int64_t n, ConstArray x, float beta, float threshold, Array y);
  void (*softplus_backward)(int64_t n, ConstArray x, ConstArray dy, float beta, float threshold,
                            Array dx);
  // lambda (x > 0 ? x : alpha (exp(x) - 1))
  void (*selu_forward)(int64_t n, ConstArray x, Array y);
  void (*selu_backward)(int64_t n, ConstArray y, ConstArray dy, Array dx);
  void (*threshold)(int64_t n, ConstArray x, float threshold, Array y);  // x > threshold ? 1 : 0
  // x, y: (outer, channels, inner); slope: (channels), or (1) with channels = 1.
  void (*prelu_forward)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                        const float* slope, Array y);
  // The gradient at 0 is slope; dslope (may be null) +=, and gets nothing from x = 0.
  // dx may be null.
  void (*prelu_backward)(int64_t outer, int64_t channels, int64_t inner, ConstArray x,
                         const float* slope, ConstArray dy, Array dx, float* dslope);
  // x: (rows, 2, n)   y: (rows, n)   y = a sigmoid(b), a and b the halves of a row of x. dx may be
  // x.
  void (*glu_forward)(int64_t rows, int64_t n, ConstArray x, Array y);
  void (*glu_backward)(int64_t rows, int64_t n, ConstArray x, ConstArray dy, Array dx);
  // x: (rows, pieces, n)   y: (rows, n), the largest of the pieces. The gradient goes to the first
  // of equal ones. dx may be x.
  void (*maxout_forward)(int64_t rows, int64_t pieces, int64_t n, ConstArray x, Array y);
  void (*maxout_backward)(int64_t rows, int64_t pieces, int64_t n, ConstArray x, ConstArray dy,
                          Array dx);
  // Keeps each element with probability 1 - ratio, times `scale`; the others become 0. Element i is
  // kept as a function of (seed, stream, i) alone (Philox, core/random.h), so that backward is the
  // same call on dy, and nothing depends on the number of threads.
  void (*dropout)(int64_t n, ConstArray x, float ratio, float scale, uint64_t seed, uint64_t stream,
                  Array y);
  // y = x mask, for masks of at least 0; 0 where the mask is 0.
  void (*masked)(const MaskShape&, ConstArray x, const float* mask, Array y);
};

const ActivationKernels& activation_kernels();

}  // namespace pydl::kernels
