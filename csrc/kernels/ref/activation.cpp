// The definition of the activations (activation.h): one element at a time, in double.
#include "kernels/activation.h"

#include <cmath>

#include "core/random.h"
#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const ActivationKernels activation;

namespace {

// -infinity gives 0, not 0 * infinity, where the slope is 0.
float leaky(float x, float slope) {
  if (slope == 0) return x < 0 ? 0 : x;
  return x > 0 ? x : slope * x;
}

template <class T>
void relu_forward(int64_t n, const T* x, float negative_slope, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = leaky(x[i], negative_slope);
}

template <class T>
void relu_backward(int64_t n, const T* y, const T* dy, float negative_slope, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? dy[i] : negative_slope * dy[i];
}

template <class T>
void sigmoid_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x[i]))));
  }
}

template <class T>
void sigmoid_backward(int64_t n, const T* y, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double out = y[i];
    dx[i] = static_cast<float>(dy[i] * (out * (1 - out)));
  }
}

template <class T>
void tanh_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(std::tanh(static_cast<double>(x[i])));
}

template <class T>
void tanh_backward(int64_t n, const T* y, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double out = y[i];
    dx[i] = static_cast<float>(dy[i] * (1 - out * out));
  }
}

template <class T>
void elu_forward(int64_t n, const T* x, float alpha, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = x[i] > 0 ? x[i] : static_cast<float>(alpha * std::expm1(static_cast<double>(x[i])));
  }
}

template <class T>
void elu_backward(int64_t n, const T* x, const T* y, const T* dy, float alpha, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double slope = static_cast<double>(y[i]) + alpha;
    dx[i] = x[i] > 0 ? dy[i] : static_cast<float>(dy[i] * slope);
  }
}

template <class T>
void abs_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::fabs(x[i]);
}

template <class T>
void abs_backward(int64_t n, const T* x, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = x[i] > 0 ? dy[i] : x[i] < 0 ? -dy[i] : 0;
}

template <class T>
void bnll_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    y[i] = static_cast<float>((v < 0 ? 0 : v) + std::log1p(std::exp(-std::fabs(v))));
  }
}

template <class T>
void bnll_backward(int64_t n, const T* x, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    dx[i] = static_cast<float>(dy[i] / (1 + std::exp(-static_cast<double>(x[i]))));
  }
}

template <class T>
void clip_forward(int64_t n, const T* x, float min, float max, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] < min ? min : x[i] > max ? max : x[i];
}

template <class T>
void clip_backward(int64_t n, const T* x, const T* dy, float min, float max, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = x[i] >= min && x[i] <= max ? dy[i] : 0.0f;
}

template <class T>
void exp_forward(int64_t n, const T* x, float scale, float factor, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(factor * std::exp(static_cast<double>(scale) * x[i]));
  }
}

template <class T>
void exp_backward(int64_t n, const T* y, const T* dy, float scale, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    dx[i] = static_cast<float>(static_cast<double>(scale) * y[i] * dy[i]);
  }
}

template <class T>
void log_forward(int64_t n, const T* x, float scale, float shift, float factor, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(factor * std::log(static_cast<double>(scale) * x[i] + shift));
  }
}

template <class T>
void log_backward(int64_t n, const T* x, const T* dy, float scale, float shift, float factor,
                  T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    dx[i] = static_cast<float>(factor * dy[i] / (static_cast<double>(scale) * x[i] + shift));
  }
}

template <class T>
void power_forward(int64_t n, const T* x, float scale, float shift, float power, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(std::pow(static_cast<double>(scale) * x[i] + shift, power));
  }
}

template <class T>
void power_backward(int64_t n, const T* x, const T* dy, float scale, float shift, float power,
                    float factor, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double slope = std::pow(static_cast<double>(scale) * x[i] + shift, power);
    dx[i] = static_cast<float>(factor * dy[i] * slope);
  }
}

template <class T>
void swish_forward(int64_t n, const T* x, float beta, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(x[i] / (1 + std::exp(-static_cast<double>(beta) * x[i])));
  }
}

template <class T>
void swish_backward(int64_t n, const T* x, const T* dy, float beta, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(beta) * x[i], s = 1 / (1 + std::exp(-v));
    dx[i] = static_cast<float>(dy[i] * (s + v * s * (1 - s)));
  }
}

template <class T>
void relu6_forward(int64_t n, const T* x, float negative_slope, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i];
    y[i] = v > 6 ? 6 : v < 0 ? leaky(v, negative_slope) : v;
  }
}

template <class T>
void relu6_backward(int64_t n, const T* y, const T* dy, float negative_slope, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const float d = dy[i];
    dx[i] = y[i] > 0 ? (y[i] < 6 ? d : 0) : negative_slope * d;
  }
}

template <class T>
void hard_swish_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i], gate = v < -3 ? 0 : v > 3 ? 1 : (v + 3) / 6;
    y[i] = static_cast<float>(v * gate);
  }
}

template <class T>
void hard_swish_backward(int64_t n, const T* x, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    dx[i] = static_cast<float>(dy[i] * (v < -3 ? 0 : v > 3 ? 1 : (2 * v + 3) / 6));
  }
}

template <class T>
void mish_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    y[i] = static_cast<float>(v * std::tanh(std::log1p(std::exp(v))));
  }
}

template <class T>
void mish_backward(int64_t n, const T* x, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i] > 100 ? 100.0 : static_cast<double>(x[i]);
    const double gate = std::tanh(std::log1p(std::exp(v))), s = 1 / (1 + std::exp(-v));
    dx[i] = static_cast<float>(dy[i] * (gate + v * s * (1 - gate * gate)));
  }
}

double gelu_tanh(double v) {
  return std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v));
}

template <class T>
void gelu_forward(int64_t n, const T* x, bool tanh, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    y[i] =
        static_cast<float>(v * (tanh ? (1 + gelu_tanh(v)) / 2 : std::erfc(-v / std::sqrt(2)) / 2));
  }
}

template <class T>
void gelu_backward(int64_t n, const T* x, const T* dy, bool tanh, T* dx) {
  const double pi = std::acos(-1.0);
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i] > 100 ? 100 : x[i] < -100 ? -100 : static_cast<double>(x[i]);
    double slope = std::erfc(-v / std::sqrt(2)) / 2 + v * std::exp(-v * v / 2) / std::sqrt(2 * pi);
    if (tanh) {
      const double t = gelu_tanh(v), inner = std::sqrt(2 / pi) * (1 + 3 * 0.044715 * v * v);
      slope = (1 + t) / 2 + v * (1 - t * t) * inner / 2;
    }
    dx[i] = static_cast<float>(dy[i] * slope);
  }
}

template <class T>
void softplus_forward(int64_t n, const T* x, float beta, float threshold, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(beta) * x[i];
    const double soft = (v < 0 ? 0 : v) + std::log1p(std::exp(-std::fabs(v)));
    y[i] = v > threshold ? x[i] : static_cast<float>(soft / beta);
  }
}

template <class T>
void softplus_backward(int64_t n, const T* x, const T* dy, float beta, float threshold, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(beta) * x[i];
    dx[i] = v > threshold ? dy[i] : static_cast<float>(dy[i] / (1 + std::exp(-v)));
  }
}

template <class T>
void selu_forward(int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i];
    y[i] = static_cast<float>(kSeluScale * (v > 0 ? v : kSeluAlpha * std::expm1(v)));
  }
}

template <class T>
void selu_backward(int64_t n, const T* y, const T* dy, T* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double out = y[i];
    dx[i] = static_cast<float>(dy[i] * (out > 0 ? kSeluScale : out + kSeluScale * kSeluAlpha));
  }
}

template <class T>
void threshold(int64_t n, const T* x, float limit, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] > limit ? 1 : 0;
}

template <class T>
void prelu_forward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* slope,
                   T* y) {
  for (int64_t i = 0; i < outer * channels * inner; ++i) {
    y[i] = x[i] > 0 ? x[i] : slope[i / inner % channels] * x[i];
  }
}

template <class T>
void prelu_backward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* slope,
                    const T* dy, T* dx, float* dslope) {
  for (int64_t c = 0; dslope && c < channels; ++c) {
    double sum = dslope[c];
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = (o * channels + c) * inner; i < (o * channels + c + 1) * inner; ++i) {
        if (x[i] < 0) sum += static_cast<double>(dy[i]) * x[i];
      }
    }
    dslope[c] = static_cast<float>(sum);
  }
  for (int64_t i = 0; dx && i < outer * channels * inner; ++i) {
    dx[i] = x[i] > 0 ? dy[i] : slope[i / inner % channels] * dy[i];
  }
}

template <class T>
void glu_forward(int64_t rows, int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < rows * n; ++i) {
    const int64_t a = i + i / n * n;
    y[i] = static_cast<float>(x[a] / (1 + std::exp(-static_cast<double>(x[a + n]))));
  }
}

template <class T>
void glu_backward(int64_t rows, int64_t n, const T* x, const T* dy, T* dx) {
  for (int64_t i = 0; i < rows * n; ++i) {
    const int64_t a = i + i / n * n;
    const double value = x[a], gate = 1 / (1 + std::exp(-static_cast<double>(x[a + n])));
    dx[a] = static_cast<float>(dy[i] * gate);
    dx[a + n] = static_cast<float>(dy[i] * value * gate * (1 - gate));
  }
}

// The first of the largest pieces, or of those that are NaN.
template <class T>
int64_t largest_piece(int64_t pieces, int64_t n, const T* x) {
  int64_t best = 0;
  for (int64_t k = 1; k < pieces; ++k) {
    const float v = x[k * n], most = x[best * n];
    if (v > most || (std::isnan(v) && !std::isnan(most))) best = k;
  }
  return best;
}

template <class T>
void maxout_forward(int64_t rows, int64_t pieces, int64_t n, const T* x, T* y) {
  for (int64_t i = 0; i < rows * n; ++i) {
    const T* from = x + i / n * pieces * n + i % n;
    y[i] = from[largest_piece(pieces, n, from) * n];
  }
}

template <class T>
void maxout_backward(int64_t rows, int64_t pieces, int64_t n, const T* x, const T* dy, T* dx) {
  for (int64_t i = 0; i < rows * n; ++i) {
    const int64_t first = i / n * pieces * n + i % n, best = largest_piece(pieces, n, x + first);
    for (int64_t k = 0; k < pieces; ++k) dx[first + k * n] = k == best ? dy[i] : 0.0f;
  }
}

template <class T>
void dropout(int64_t n, const T* x, float ratio, float scale, uint64_t seed, uint64_t stream,
             T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = philox(seed, stream, static_cast<uint64_t>(i / 4))[i % 4];
    const float uniform = static_cast<float>(bits >> 8) * 0x1p-24f;
    y[i] = uniform < ratio ? 0 : scale * x[i];
  }
}

template <class T>
void masked(const MaskShape& s, const T* x, const float* mask, T* y) {
  int64_t count = 1;
  for (const int64_t size : s.sizes) count *= size;
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = 0, rest = i;
    for (size_t axis = s.sizes.size(); axis-- > 0; rest /= s.sizes[axis]) {
      at += rest % s.sizes[axis] * s.strides[axis];
    }
    y[i] = mask[at] == 0 ? 0 : mask[at] * x[i];
  }
}

}  // namespace

const ActivationKernels activation = {PYDL_TYPED(relu_forward),
                                      PYDL_TYPED(relu_backward),
                                      PYDL_TYPED(sigmoid_forward),
                                      PYDL_TYPED(sigmoid_backward),
                                      PYDL_TYPED(tanh_forward),
                                      PYDL_TYPED(tanh_backward),
                                      PYDL_TYPED(elu_forward),
                                      PYDL_TYPED(elu_backward),
                                      PYDL_TYPED(abs_forward),
                                      PYDL_TYPED(abs_backward),
                                      PYDL_TYPED(bnll_forward),
                                      PYDL_TYPED(bnll_backward),
                                      PYDL_TYPED(clip_forward),
                                      PYDL_TYPED(clip_backward),
                                      PYDL_TYPED(exp_forward),
                                      PYDL_TYPED(exp_backward),
                                      PYDL_TYPED(log_forward),
                                      PYDL_TYPED(log_backward),
                                      PYDL_TYPED(power_forward),
                                      PYDL_TYPED(power_backward),
                                      PYDL_TYPED(swish_forward),
                                      PYDL_TYPED(swish_backward),
                                      PYDL_TYPED(relu6_forward),
                                      PYDL_TYPED(relu6_backward),
                                      PYDL_TYPED(hard_swish_forward),
                                      PYDL_TYPED(hard_swish_backward),
                                      PYDL_TYPED(mish_forward),
                                      PYDL_TYPED(mish_backward),
                                      PYDL_TYPED(gelu_forward),
                                      PYDL_TYPED(gelu_backward),
                                      PYDL_TYPED(softplus_forward),
                                      PYDL_TYPED(softplus_backward),
                                      PYDL_TYPED(selu_forward),
                                      PYDL_TYPED(selu_backward),
                                      PYDL_TYPED(threshold),
                                      PYDL_TYPED(prelu_forward),
                                      PYDL_TYPED(prelu_backward),
                                      PYDL_TYPED(glu_forward),
                                      PYDL_TYPED(glu_backward),
                                      PYDL_TYPED(maxout_forward),
                                      PYDL_TYPED(maxout_backward),
                                      PYDL_TYPED(dropout),
                                      PYDL_TYPED(masked)};

}  // namespace pydl::kernels::ref
