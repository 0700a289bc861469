// U of a Winograd convolution and, backwards, the gradient of the weights from that of U.
#pragma once

#include "kernels/cpu/transpose.h"
#include "kernels/cpu/winograd_blocks.h"

namespace pydl::kernels::PYDL_ISA {

template <class F>
constexpr int kTaps2 = F::kTaps * F::kTaps;

// The taps of `lanes` output channels `stride` apart, each as many neighbours in memory.
template <int kTaps>
PYDL_INLINE void load_taps(const float* w, int64_t stride, int64_t lanes, Vec (&taps)[kTaps]) {
#pragma GCC unroll 7
  for (int first = 0; first < kTaps; first += kLanes) {
    const int n = kTaps - first < kLanes ? kTaps - first : kLanes;
    Vec x[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      x[i] = i < lanes ? load_some(w + i * stride + first, n) : Vec{};
    }
    transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) taps[first + i] = x[i];
  }
}

// Adds to them.
template <int kTaps>
PYDL_INLINE void add_taps(const Vec (&taps)[kTaps], int64_t stride, int64_t lanes, float* dw) {
#pragma GCC unroll 7
  for (int first = 0; first < kTaps; first += kLanes) {
    const int n = kTaps - first < kLanes ? kTaps - first : kLanes;
    Vec x[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) x[i] = i < n ? taps[first + i] : Vec{};
    transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      float* to = dw + i * stride + first;
      if (i < lanes) store_some(to, load_some(to, n) + x[i], n);
    }
  }
}

// The taps of one weight are neighbours; those of a backward pass run backwards.
inline bool reversed(const WeightMap& m) { return m.tap[2] < 0; }
template <class F>
int64_t first_tap(const WeightMap& m) {
  return reversed(m) ? m.first - (kTaps2<F> - 1) : m.first;
}

template <class F>
bool pack(const Correlation& c, const WeightMap& map, const float* w, float* packed) {
  const Panels<F> panels(c);
  const bool turned = reversed(map);
  // Where channels of the input are neighbours, so are the weights that a thread reads.
  constexpr int64_t kStep = 16;
  const int64_t steps = ceil_div(c.ic, kStep);
  int not_finite = 0;
  parallel_for(panels.count * steps, items_worth(kGrain, kStep * kNR * kPoints2<F>),
               [&](int64_t begin, int64_t end) {
                 Vec seen{};
                 for (int64_t i = begin; i < end; ++i) {
                   const Panel p = panels.at(i / steps);
                   const int64_t k0 = i % steps * kStep;
                   const float* from = w + first_tap<F>(map) + p.group * map.group +
                                       p.column * map.oc + k0 * map.ic;
                   float* to = packed + p.u + k0 * p.width;
                   const int64_t rows = smaller(kStep, c.ic - k0);
                   for (int64_t k = 0; k < rows; ++k, from += map.ic, to += p.width) {
                     for (int64_t v = 0; v < p.width; v += kLanes) {
                       Vec taps[kTaps2<F>], g[F::kTaps][F::kTaps], u[F::kPoints][F::kPoints];
                       load_taps(from + v * map.oc, map.oc, p.columns - v, taps);
#pragma GCC unroll 25
                       for (int t = 0; t < kTaps2<F>; ++t) {
                         g[t / F::kTaps][t % F::kTaps] = taps[turned ? kTaps2<F> - 1 - t : t];
                       }
                       along_both<F::weights>(g, u);
                       note_not_finite(u[1][1], seen);
#pragma GCC unroll 36
                       for (int j = 0; j < kPoints2<F>; ++j) {
                         store(to + j * p.point + v, u[j / F::kPoints][j % F::kPoints]);
                       }
                     }
                   }
                 }
                 if (any_not_finite(seen)) __atomic_store_n(&not_finite, 1, __ATOMIC_RELAXED);
               });
  return not_finite == 0;
}

}  // namespace pydl::kernels::PYDL_ISA
