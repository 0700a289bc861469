// Activations (activation.h).
#include "kernels/activation.h"

#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/philox.h"

namespace pydl::kernels::PYDL_ISA {

extern const ActivationKernels activation;

namespace {

void relu_forward(int64_t n, const float* x, float negative_slope, float* y) {
  if (negative_slope == 0) {
    // -infinity gives 0, not 0 * infinity.
    map(n, kGrain, y, [](Vec v) { return select(v < 0.0f, Vec{}, v); }, x);
  } else {
    map(n, kGrain, y, [=](Vec v) { return select(v > 0.0f, v, negative_slope * v); }, x);
  }
}

void relu_backward(int64_t n, const float* y, const float* dy, float negative_slope, float* dx) {
  map(
      n, kGrain, dx, [=](Vec out, Vec d) { return select(out > 0.0f, d, negative_slope * d); }, y,
      dy);
}

void sigmoid_forward(int64_t n, const float* x, float* y) {
  map(n, kMathGrain, y, [](Vec v) { return sigmoid(v); }, x);
}

void sigmoid_backward(int64_t n, const float* y, const float* dy, float* dx) {
  map(n, kGrain, dx, [](Vec out, Vec d) { return d * (out * (1.0f - out)); }, y, dy);
}

void tanh_forward(int64_t n, const float* x, float* y) {
  map(n, kMathGrain, y, [](Vec v) { return tanh(v); }, x);
}

void tanh_backward(int64_t n, const float* y, const float* dy, float* dx) {
  // (1 - y)(1 + y): 1 - y^2 would cancel near 1.
  map(n, kGrain, dx, [](Vec out, Vec d) { return d * ((1.0f - out) * (1.0f + out)); }, y, dy);
}

void elu_forward(int64_t n, const float* x, float alpha, float* y) {
  map(n, kMathGrain, y, [=](Vec v) { return select(v > 0.0f, v, alpha * expm1(v)); }, x);
}

void elu_backward(int64_t n, const float* x, const float* y, const float* dy, float alpha,
                  float* dx) {
  map(
      n, kGrain, dx,
      [=](Vec in, Vec out, Vec d) { return select(in > 0.0f, d, d * (out + alpha)); }, x, y, dy);
}

void prelu_forward(int64_t outer, int64_t channels, int64_t inner, const float* x,
                   const float* slope, float* y) {
  map_channels({outer, channels, inner}, pointers(x), pointers(slope), y,
               [](const Vec* v, const Vec* p) { return select(v[0] > 0.0f, v[0], p[0] * v[0]); });
}

void prelu_backward(int64_t outer, int64_t channels, int64_t inner, const float* x,
                    const float* slope, const float* dy, float* dx, float* dslope) {
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

void dropout(int64_t n, const float* x, float ratio, uint64_t seed, uint64_t stream, float* y) {
  constexpr int64_t kStep = 2 * kLanes;  // what one call of philox() gives
  const float scale = 1 / (1 - ratio);
  const auto keep = [=](VecI bits, int64_t i, int64_t lanes) {
    const Vec uniform = to_float((bits >> 8) & 0xffffff) * 0x1p-24f;
    store_some(y + i, select(uniform < ratio, Vec{}, scale * load_some(x + i, lanes)), lanes);
  };
  parallel_for(ceil_div(n, kStep), kMathGrain / kStep, [=](int64_t begin, int64_t end) {
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

const ActivationKernels activation = {
    relu_forward, relu_backward, sigmoid_forward, sigmoid_backward, tanh_forward, tanh_backward,
    elu_forward,  elu_backward,  prelu_forward,   prelu_backward,   dropout};

}  // namespace pydl::kernels::PYDL_ISA
