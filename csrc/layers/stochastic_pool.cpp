#include "layers/stochastic_pool.h"

#include <algorithm>

#include "core/random.h"
#include "kernels/parallel.h"

namespace pydl {

using kernels::PoolShape;

namespace {

// One window: its output element, and its input elements as rows of indices in the plane.
struct Window {
  int64_t number;         // in the plain order (n, c, oh, ow)
  int64_t in, out, step;  // element p of the plane is x[in + p * step]; the result is y[out]
  int64_t h0, h1, w0, w1, width;

  // body(p): p = h * W + w
  template <class Body>
  void each(const Body& body) const {
    for (int64_t h = h0; h < h1; ++h) {
      for (int64_t w = w0; w < w1; ++w) body(h * width + w);
    }
  }
  float sum(const float* x) const {
    float total = 0;
    each([&](int64_t p) { total += x[in + p * step]; });
    return total;
  }
};

// body(window) for all windows; planes in parallel.
template <class Body>
void for_windows(const PoolShape& s, const Body& body) {
  const int64_t in_plane = s.h * s.w, out_plane = s.oh * s.ow;
  const int64_t grain = 1 + 4096 / (out_plane * s.kernel_h * s.kernel_w);
  kernels::parallel_for(s.n * s.c, grain, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t n = plane / s.c, c = plane % s.c;
      const int64_t step = s.channels_last ? s.c : 1;
      const int64_t in = s.channels_last ? n * in_plane * s.c + c : plane * in_plane;
      const int64_t out = s.channels_last ? n * out_plane * s.c + c : plane * out_plane;
      for (int64_t o = 0; o < out_plane; ++o) {
        const int64_t h0 = o / s.ow * s.stride_h, w0 = o % s.ow * s.stride_w;
        body(Window{plane * out_plane + o, in, out + o * step, step, h0,
                    std::min(h0 + s.kernel_h, s.h), w0, std::min(w0 + s.kernel_w, s.w), s.w});
      }
    }
  });
}

}  // namespace

void stochastic_sample(const PoolShape& s, uint64_t seed, uint64_t stream, const float* x, float* y,
                       int32_t* index) {
  for_windows(s, [&](const Window& w) {
    const uint32_t bits = philox(seed, stream, static_cast<uint64_t>(w.number))[0];
    const float threshold = static_cast<float>(bits >> 8) * 0x1p-24f * w.sum(x);
    int64_t taken = -1, last = 0;
    float sum = 0;
    w.each([&](int64_t p) {
      sum += x[w.in + p * w.step];
      if (taken < 0 && sum > threshold) taken = p;
      last = p;
    });
    if (taken < 0) taken = last;  // all zero, or rounding
    index[w.out] = static_cast<int32_t>(taken);
    y[w.out] = x[w.in + taken * w.step];
  });
}

void stochastic_average(const PoolShape& s, const float* x, float* y) {
  for_windows(s, [&](const Window& w) {
    float squares = 0;
    w.each([&](int64_t p) { squares += x[w.in + p * w.step] * x[w.in + p * w.step]; });
    const float sum = w.sum(x);
    y[w.out] = sum > 0 ? squares / sum : 0;
  });
}

void stochastic_average_backward(const PoolShape& s, const float* x, const float* y,
                                 const float* dy, float* dx) {
  std::fill(dx, dx + s.n * s.c * s.h * s.w, 0.0f);
  for_windows(s, [&](const Window& w) {
    const float sum = w.sum(x);
    if (!(sum > 0)) return;
    const float factor = dy[w.out] / sum;
    w.each([&](int64_t p) {
      const int64_t i = w.in + p * w.step;
      dx[i] += factor * (2 * x[i] - y[w.out]);
    });
  });
}

}  // namespace pydl
