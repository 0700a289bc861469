// Activations (activation.h).
#include "kernels/activation.h"

#include "kernels/cpu/apply.h"
#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/philox.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const ActivationKernels activation;

namespace {

template <class T>
void relu_forward(int64_t n, const T* x, float negative_slope, T* y) {
  if (negative_slope == 0) {
    // -infinity gives 0, not 0 * infinity.
    map(n, kGrain, y, [](Vec v) { return select(v < 0.0f, Vec{}, v); }, x);
  } else {
    map(n, kGrain, y, [=](Vec v) { return select(v > 0.0f, v, negative_slope * v); }, x);
  }
}

template <class T>
void relu_backward(int64_t n, const T* y, const T* dy, float negative_slope, T* dx) {
  map(
      n, kGrain, dx, [=](Vec out, Vec d) { return select(out > 0.0f, d, negative_slope * d); }, y,
      dy);
}

template <class T>
void sigmoid_forward(int64_t n, const T* x, T* y) {
  map(n, kMathGrain, y, [](Vec v) { return sigmoid(v); }, x);
}

template <class T>
void sigmoid_backward(int64_t n, const T* y, const T* dy, T* dx) {
  map(n, kGrain, dx, [](Vec out, Vec d) { return d * (out * (1.0f - out)); }, y, dy);
}

template <class T>
void tanh_forward(int64_t n, const T* x, T* y) {
  map(n, kMathGrain, y, [](Vec v) { return tanh(v); }, x);
}

template <class T>
void tanh_backward(int64_t n, const T* y, const T* dy, T* dx) {
  // (1 - y)(1 + y): 1 - y^2 would cancel near 1.
  map(n, kGrain, dx, [](Vec out, Vec d) { return d * ((1.0f - out) * (1.0f + out)); }, y, dy);
}

template <class T>
void elu_forward(int64_t n, const T* x, float alpha, T* y) {
  map(n, kMathGrain, y, [=](Vec v) { return select(v > 0.0f, v, alpha * expm1(v)); }, x);
}

template <class T>
void elu_backward(int64_t n, const T* x, const T* y, const T* dy, float alpha, T* dx) {
  map(
      n, kGrain, dx,
      [=](Vec in, Vec out, Vec d) { return select(in > 0.0f, d, d * (out + alpha)); }, x, y, dy);
}

// ---- rare ones ----

void abs_forward(int64_t n, ConstArray x, Array y) {
  apply(n, kGrain, [](Vec v) { return abs(v); }, y, x);
}

void abs_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  const auto slope = [](Vec in, Vec d) {
    return select(in > 0.0f, d, select(in < 0.0f, -d, Vec{}));
  };
  apply(n, kGrain, slope, dx, x, dy);
}

void bnll_forward(int64_t n, ConstArray x, Array y) {
  apply(n, kMathGrain, [](Vec v) { return relu(v) + log1p_of_unit(exp(-abs(v))); }, y, x);
}

void bnll_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  apply(n, kMathGrain, [](Vec in, Vec d) { return d * sigmoid(in); }, dx, x, dy);
}

void clip_forward(int64_t n, ConstArray x, float min, float max, Array y) {
  apply(n, kGrain, [=](Vec v) { return clamp(v, min, max); }, y, x);
}

void clip_backward(int64_t n, ConstArray x, ConstArray dy, float min, float max, Array dx) {
  const auto inside = [=](Vec in, Vec d) { return select((in >= min) & (in <= max), d, Vec{}); };
  apply(n, kGrain, inside, dx, x, dy);
}

void exp_forward(int64_t n, ConstArray x, float scale, float factor, Array y) {
  apply(n, kMathGrain, [=](Vec v) { return factor * exp(scale * v); }, y, x);
}

void exp_backward(int64_t n, ConstArray y, ConstArray dy, float scale, Array dx) {
  apply(n, kGrain, [=](Vec out, Vec d) { return scale * (out * d); }, dx, y, dy);
}

void log_forward(int64_t n, ConstArray x, float scale, float shift, float factor, Array y) {
  apply(n, kMathGrain, [=](Vec v) { return factor * log(scale * v + shift); }, y, x);
}

void log_backward(int64_t n, ConstArray x, ConstArray dy, float scale, float shift, float factor,
                  Array dx) {
  apply(n, kGrain, [=](Vec in, Vec d) { return factor * d / (scale * in + shift); }, dx, x, dy);
}

// body(f): f(v) = v^exponent.
template <class Body>
void with_power(float exponent, const Body& body) {
  if (exponent == 1) return body([](Vec v) { return v; });
  if (exponent == 2) return body([](Vec v) { return v * v; });
  body(Power(exponent));
}

void power_forward(int64_t n, ConstArray x, float scale, float shift, float power, Array y) {
  with_power(power, [=](const auto& raised) {
    apply(n, kMathGrain, [=](Vec v) { return raised(scale * v + shift); }, y, x);
  });
}

void power_backward(int64_t n, ConstArray x, ConstArray dy, float scale, float shift, float power,
                    float factor, Array dx) {
  with_power(power, [=](const auto& raised) {
    const auto slope = [=](Vec in, Vec d) { return factor * d * raised(scale * in + shift); };
    apply(n, kMathGrain, slope, dx, x, dy);
  });
}

void swish_forward(int64_t n, ConstArray x, float beta, Array y) {
  apply(n, kMathGrain, [=](Vec v) { return v * sigmoid(beta * v); }, y, x);
}

void swish_backward(int64_t n, ConstArray x, ConstArray dy, float beta, Array dx) {
  const auto slope = [=](Vec in, Vec d) {
    const Vec v = beta * in, s = sigmoid(v);
    return d * (s + v * s * (1.0f - s));
  };
  apply(n, kMathGrain, slope, dx, x, dy);
}

void relu6_forward(int64_t n, ConstArray x, float negative_slope, Array y) {
  const auto limited = [=](Vec v) {  // -infinity gives 0, not 0 * infinity
    const Vec left = negative_slope == 0 ? Vec{} : negative_slope * v;
    return select(v > 6.0f, broadcast(6.0f), select(v < 0.0f, left, v));
  };
  apply(n, kGrain, limited, y, x);
}

void relu6_backward(int64_t n, ConstArray y, ConstArray dy, float negative_slope, Array dx) {
  const auto slope = [=](Vec out, Vec d) {
    const Vec left = select(out > 0.0f, Vec{}, negative_slope * d);
    return select((out > 0.0f) & (out < 6.0f), d, left);
  };
  apply(n, kGrain, slope, dx, y, dy);
}

void hard_swish_forward(int64_t n, ConstArray x, Array y) {
  apply(n, kGrain, [](Vec v) { return v * clamp(v + 3.0f, 0.0f, 6.0f) * (1.0f / 6); }, y, x);
}

void hard_swish_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  const auto slope = [](Vec in, Vec d) {
    const Vec middle = d * (in * (1.0f / 3) + 0.5f);
    return select(in < -3.0f, Vec{}, select(in > 3.0f, d, middle));
  };
  apply(n, kGrain, slope, dx, x, dy);
}

// The gate tanh(log(1 + e)) = w / (w + 2), w = e (e + 2), e = exp(v), is 1 from here on.
PYDL_INLINE Vec mish_limited(Vec v) { return select(v > 20.0f, broadcast(20.0f), v); }

void mish_forward(int64_t n, ConstArray x, Array y) {
  const auto gated = [](Vec v) {
    const Vec e = exp(mish_limited(v)), w = e * (e + 2.0f);
    return v * (w / (w + 2.0f));
  };
  apply(n, kMathGrain, gated, y, x);
}

void mish_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  // gate + v sigmoid(v) (1 - gate^2)
  const auto slope = [](Vec in, Vec d) {
    const Vec v = mish_limited(in);
    const Vec e = exp(v), w = e * (e + 2.0f), scale = 1.0f / (w + 2.0f);
    return d * (w * scale + v * (e / (e + 1.0f)) * (4.0f * (w + 1.0f) * scale * scale));
  };
  apply(n, kMathGrain, slope, dx, x, dy);
}

void threshold(int64_t n, ConstArray x, float limit, Array y) {
  apply(n, kGrain, [=](Vec v) { return select(v > limit, broadcast(1.0f), Vec{}); }, y, x);
}

// ---- with parameters, with random numbers ----

template <class T>
void prelu_forward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* slope,
                   T* y) {
  map_channels({outer, channels, inner}, pointers(x), pointers(slope), y,
               [](const Vec* v, const Vec* p) { return select(v[0] > 0.0f, v[0], p[0] * v[0]); });
}

template <class T>
void prelu_backward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* slope,
                    const T* dy, T* dx, float* dslope) {
  const Channels s{outer, channels, inner};
  if (dslope) {
    const DoubleScratch sums(channels);
    const auto add_up = [](const Vec* v, const Vec*, Vec* sum) {
      sum[0] += select(v[0] < 0.0f, v[1] * v[0], Vec{});
    };
    sum_channels<1>(s, pointers(x, dy), Pointers<0>{}, add_up, sums.data());
    add_to(channels, sums.data(), dslope);
  }
  if (dx) {
    map_channels(s, pointers(x, dy), pointers(slope), dx,
                 [](const Vec* v, const Vec* p) { return select(v[0] > 0.0f, v[1], p[0] * v[1]); });
  }
}

template <class T>
void dropout(int64_t n, const T* x, float ratio, uint64_t seed, uint64_t stream, T* y) {
  constexpr int64_t kStep = 2 * kLanes;  // what one call of philox() gives
  const float scale = 1 / (1 - ratio);
  const auto keep = [=](VecI bits, int64_t i, int64_t lanes) {
    const Vec uniform = to_float((bits >> 8) & 0xffffff) * 0x1p-24f;
    store_some(y + i, select(uniform < ratio, Vec{}, scale * load_some(x + i, lanes)), lanes);
  };
  parallel_for(ceil_div(n, kStep), kMathGrain / kStep,
               [=](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t step = begin; step < end; ++step) {
                   const int64_t i = step * kStep;
                   VecI bits[2];
                   philox(seed, stream, static_cast<uint64_t>(i / 4), bits);
                   if (i + kStep <= n) {
                     keep(bits[0], i, kLanes);
                     keep(bits[1], i + kLanes, kLanes);
                   } else {
                     keep(bits[0], i, smaller(kLanes, n - i));
                     keep(bits[1], i + kLanes, larger(0, n - i - kLanes));
                   }
                 }
               });
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
                                      abs_forward,
                                      abs_backward,
                                      bnll_forward,
                                      bnll_backward,
                                      clip_forward,
                                      clip_backward,
                                      exp_forward,
                                      exp_backward,
                                      log_forward,
                                      log_backward,
                                      power_forward,
                                      power_backward,
                                      swish_forward,
                                      swish_backward,
                                      relu6_forward,
                                      relu6_backward,
                                      hard_swish_forward,
                                      hard_swish_backward,
                                      mish_forward,
                                      mish_backward,
                                      threshold,
                                      PYDL_TYPED(prelu_forward),
                                      PYDL_TYPED(prelu_backward),
                                      PYDL_TYPED(dropout)};

}  // namespace pydl::kernels::PYDL_ISA
