// Normalisation of rows (row_norm.h). A row is read from memory once: what follows its statistics
// finds it in the first-level cache.
#include "kernels/row_norm.h"

#include "kernels/cpu/channels.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const RowNormKernels row_norm;

namespace {

// The mean of (x - mean)^2.
template <class T>
PYDL_INLINE double mean_square(int64_t n, const T* x, float mean) {
  double total[1] = {};
  sum_positions<1>(
      n,
      [=](int64_t i, int64_t lanes, Vec* sums) {
        const Vec d = load_some(x + i, lanes) - mean;
        sums[0] += d * d;
      },
      total);
  return total[0] / static_cast<double>(n);
}

// Mean and biased variance: sums are of the distance from the first value and of its square, which
// mostly leaves little to cancel in E[d^2] - E[d]^2; where there is more, squares are summed again.
template <class T>
PYDL_INLINE double moments(int64_t n, const T* x, float* mean) {
  const float first = x[0];
  double total[2] = {};
  sum_positions<2>(
      n,
      [=](int64_t i, int64_t lanes, Vec* sums) {
        const Vec d = load_some(x + i, lanes) - first;
        sums[0] += d;
        sums[1] += d * d;
      },
      total);
  const double d = total[0] / static_cast<double>(n);
  *mean = static_cast<float>(first + d);
  const double variance = total[1] / static_cast<double>(n) - d * d;
  return d * d > 16 * variance ? mean_square(n, x, *mean) : variance;
}

template <class T>
void forward(const RowNormShape& s, float eps, const T* x, const float* gamma, const float* beta,
             float* mean, float* rstd, T* y) {
  if (s.n == 0) return;
  parallel_for(s.rows, items_worth(kGrain, s.n), [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * s.n;
      T* to = y + r * s.n;
      float center = 0;
      const double variance = s.centered ? moments(s.n, from, &center) : mean_square(s.n, from, 0);
      const auto factor = static_cast<float>(1 / __builtin_sqrt(variance + eps));
      if (s.centered) mean[r] = center;
      rstd[r] = factor;
      for_each_vector(0, s.n, [&](int64_t i, int64_t lanes) {
        Vec v = (load_some(from + i, lanes) - center) * factor;
        if (gamma) v = v * load_some(gamma + i, lanes);
        if (beta) v = v + load_some(beta + i, lanes);
        store_some(to + i, v, lanes);
      });
    }
  });
}

// ---- backward ----

template <class T>
struct Rows {
  const RowNormShape& s;
  const T* x;
  const float *gamma, *mean, *rstd;
  const T* dy;
  T* dx;
  bool add;

  PYDL_INLINE Vec gradient(int64_t r, int64_t i, int64_t lanes) const {
    return load_some(dy + r * s.n + i, lanes);
  }
  // x - mean: xhat before it is scaled
  PYDL_INLINE Vec distance(int64_t r, int64_t i, int64_t lanes) const {
    return load_some(x + r * s.n + i, lanes) - (s.centered ? mean[r] : 0);
  }
  PYDL_INLINE Vec scale(int64_t i, int64_t lanes) const {
    return gamma ? load_some(gamma + i, lanes) : broadcast(1.0f);
  }

  // Of a row: dx = rstd g - a - b (x - mean)
  PYDL_INLINE void means(int64_t r, float* a, float* b) const {
    double total[2] = {};
    sum_positions<2>(
        s.n,
        [&](int64_t i, int64_t lanes, Vec* sums) {
          __builtin_prefetch(dx + r * s.n + i, 1);
          const Vec g = gradient(r, i, lanes) * scale(i, lanes);
          sums[0] += g;
          sums[1] += g * distance(r, i, lanes);
        },
        total);
    const double factor = rstd[r] / static_cast<double>(s.n);
    *a = s.centered ? static_cast<float>(total[0] * factor) : 0;
    *b = static_cast<float>(total[1] * factor * rstd[r] * rstd[r]);
  }

  // dx, and the row's part of the sums (n) each, which may be null. The next row is fetched
  // meanwhile, as `dx` is while the means are taken: memory is never idle.
  PYDL_INLINE void row(int64_t r, float* sums) const {
    float a = 0, b = 0;
    if (dx) means(r, &a, &b);
    const float factor = rstd[r];
    for_each_vector(0, s.n, [&](int64_t i, int64_t lanes) {
      __builtin_prefetch(x + (r + 1) * s.n + i);
      __builtin_prefetch(dy + (r + 1) * s.n + i);
      // All is loaded before anything is stored: what lies a multiple of 4 KiB apart, as these
      // arrays often do, would wait for the store.
      const Vec d = gradient(r, i, lanes), v = distance(r, i, lanes), scaled = d * factor;
      Vec of_gamma{}, of_beta{}, out{};
      T* to = dx + r * s.n + i;
      if (sums) {
        of_gamma = load_some(sums + i, lanes) + scaled * v;
        of_beta = load_some(sums + s.n + i, lanes) + d;
      }
      if (dx) out = scaled * scale(i, lanes) - a - v * b;
      if (dx && add) out += load_some(to, lanes);
      if (dx) store_some(to, out, lanes);
      if (!sums) return;
      store_some(sums + i, of_gamma, lanes);
      store_some(sums + s.n + i, of_beta, lanes);
    });
  }
};

template <class T>
void backward(const RowNormShape& s, const T* x, const float* gamma, const float* mean,
              const float* rstd, const T* dy, bool add, float* dgamma, float* dbeta, T* dx) {
  constexpr int64_t kChunk = 64;  // rows whose sums are taken in float
  const Rows<T> rows{s, x, gamma, mean, rstd, dy, dx, add};
  const bool learns = dgamma || dbeta;
  const int64_t chunks = ceil_div(s.rows, kChunk), width = 2 * s.n;
  const Scratch parts(learns ? chunks * width : 0);
  parallel_for(chunks, items_worth(kGrain, kChunk * s.n),
               [&](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t chunk = begin; chunk < end; ++chunk) {
                   float* sums = learns ? parts.data() + chunk * width : nullptr;
                   for (int64_t i = 0; sums && i < width; ++i) sums[i] = 0;
                   const int64_t last = smaller((chunk + 1) * kChunk, s.rows);
                   for (int64_t r = chunk * kChunk; r < last; ++r) rows.row(r, sums);
                 }
               });
  for (int64_t i = 0; learns && i < width; ++i) {
    float* to = i < s.n ? dgamma : dbeta;
    if (!to) continue;
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += parts.data()[chunk * width + i];
    to[i % s.n] = static_cast<float>(to[i % s.n] + total);
  }
}

}  // namespace

const RowNormKernels row_norm = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::PYDL_ISA
