// (outer, channels, inner): maps with parameters per channel, and sums per channel.
//
// With inner = 1 (channels-last) the lanes of a vector are channels, else positions of one channel.
#pragma once

#include <type_traits>

#include "kernels/cpu/map.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

struct Channels {
  int64_t outer, channels, inner;
};

// One channel is one run of positions, however it is cut.
constexpr Channels simplified(Channels s) {
  return s.channels == 1 ? Channels{1, 1, s.outer * s.inner} : s;
}

template <int N, class T = float>
struct Pointers {
  const T* p[N > 0 ? N : 1];
};
template <class T, class... P>
PYDL_INLINE Pointers<1 + sizeof...(P), std::remove_const_t<T>> pointers(T* first, P*... more) {
  return {{first, more...}};
}

template <int N>
struct Vectors {
  Vec v[N > 0 ? N : 1];
};

// The parameters of `n` channels from c on (kLast), or of channel c in all lanes.
template <bool kLast, int P>
PYDL_INLINE Vectors<P> load_parameters(const Pointers<P>& p, int64_t c, int64_t n) {
  Vectors<P> q{};
#pragma GCC unroll 4
  for (int k = 0; k < P; ++k) q.v[k] = kLast ? load_some(p.p[k] + c, n) : broadcast(p.p[k][c]);
  return q;
}

template <int X, class T>
PYDL_INLINE Vectors<X> load_inputs(const Pointers<X, T>& x, int64_t i, int64_t n) {
  Vectors<X> v{};
#pragma GCC unroll 4
  for (int k = 0; k < X; ++k) v.v[k] = load_some(x.p[k] + i, n);
  return v;
}

// A row holds all channels (kLast) or one. Blocks of rows, or pieces of long rows, are shared out
// to the threads.
template <bool kLast, int X, int P, class T, class F>
PYDL_INLINE void map_rows(Channels s, int64_t rows, int64_t row, const Pointers<X, T>& x,
                          const Pointers<P>& p, T* y, const F& f) {
  constexpr int64_t kBlock = kGrain / 4;
  const int64_t height = items_worth(kBlock, row), pieces = ceil_div(row, kBlock);
  const int64_t items = ceil_div(rows, height) * pieces;
  const int64_t grain = items_worth(kGrain, smaller(row, kBlock) * smaller(height, rows));
  parallel_for(items, grain, [&](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t r0 = item / pieces * height, first = item % pieces * kBlock;
      const int64_t last = smaller(first + kBlock, row);
      int64_t channel = r0 % s.channels;
      for (int64_t r = r0; r < smaller(r0 + height, rows); ++r) {
        const Vectors<P> of_channel = load_parameters<false>(p, kLast ? 0 : channel, kLanes);
        for_each_vector(first, last, [&](int64_t i, int64_t n) {
          const Vectors<P> q = kLast ? load_parameters<true>(p, i, n) : of_channel;
          const Vectors<X> v = load_inputs(x, r * row + i, n);
          store_some(y + r * row + i, f(v.v, q.v), n);
        });
        if (++channel == s.channels) channel = 0;
      }
    }
  });
}

// y[i] = f(x[0..X)[i], p[0..P)[channel of i]), f taking arrays of vectors. y may be an input.
template <int X, int P, class T, class F>
PYDL_INLINE void map_channels(Channels shape, const Pointers<X, T>& x, const Pointers<P>& p, T* y,
                              const F& f) {
  const Channels s = simplified(shape);
  if (s.inner == 1) {
    map_rows<true>(s, s.outer, s.channels, x, p, y, f);
  } else {
    map_rows<false>(s, s.outer * s.channels, s.inner, x, p, y, f);
  }
}

// ---- sums ----
//
// A sum is taken in float over short stretches (kStretch additions per lane), which are added up in
// double. Chunks of the data, of a size that does not depend on the number of threads, are summed
// in parallel and their sums added in order.

constexpr int64_t kStretch = 32;

// f(x, p, sums) adds to its K sums; what it returns, if anything, is stored in y.
template <int X, int P, class T, class F>
PYDL_INLINE void add_vector(const Pointers<X, T>& x, int64_t i, int64_t n, const Vectors<P>& p,
                            const F& f, Vec* sums, T* y) {
  const Vectors<X> v = load_inputs(x, i, n);
  if constexpr (std::is_void_v<decltype(f(v.v, p.v, sums))>) {
    f(v.v, p.v, sums);
  } else {
    store_some(y + i, f(v.v, p.v, sums), n);
  }
}

// total[k] += the K sums of what f(i, lanes, sums) adds over n positions. Lanes beyond n are left
// out, whatever f adds there.
template <int K, class F>
PYDL_INLINE void sum_positions(int64_t n, const F& f, double (&total)[K]) {
  constexpr int kChains = 4;  // to hide the latency of additions
  constexpr int64_t kStep = kChains * kLanes;
  for (int64_t begin = 0; begin < n; begin += kStretch * kStep) {
    const int64_t end = smaller(begin + kStretch * kStep, n);
    Vec s[kChains][K] = {};
    int64_t i = begin;
    for (; i + kStep <= end; i += kStep) {
#pragma GCC unroll 4
      for (int u = 0; u < kChains; ++u) f(i + u * kLanes, kLanes, s[u]);
    }
    for (; i < end; i += kLanes) {
      const int64_t lanes = smaller(kLanes, end - i);
      Vec tail[K] = {};
      f(i, lanes, tail);
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) {
        s[0][k] += select(iota() < static_cast<int32_t>(lanes), tail[k], Vec{});
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) total[k] += sum((s[0][k] + s[1][k]) + (s[2][k] + s[3][k]));
  }
}

// total[k] += the K sums over n positions of one channel.
template <int K, int X, int P, class T, class F>
PYDL_INLINE void sum_run(int64_t n, const Pointers<X, T>& x, int64_t first, const Vectors<P>& p,
                         const F& f, double (&total)[K], T* y = nullptr) {
  const auto add = [&](int64_t i, int64_t lanes, Vec * sums) __attribute__((always_inline)) {
    add_vector(x, first + i, lanes, p, f, sums, y);
  };
  sum_positions(n, add, total);
}

// Rows of channels-last data that are added up together: as many streams of reads.
constexpr int64_t kRows = 8;

typedef double VecD __attribute__((vector_size(kVectorBytes)));
typedef float HalfVec __attribute__((vector_size(kVectorBytes / 2)));

// total[c] += lane c, n lanes.
PYDL_INLINE void add_lanes(Vec v, int64_t n, double* total) {
  constexpr int kHalf = kLanes / 2;
  float lanes[kLanes];
  store(lanes, v);
  if (n < kLanes) {
    for (int64_t i = 0; i < n; ++i) total[i] += lanes[i];
    return;
  }
#pragma GCC unroll 2
  for (int i = 0; i < kLanes; i += kHalf) {
    HalfVec half;
    VecD sum;
    __builtin_memcpy(&half, lanes + i, sizeof half);
    __builtin_memcpy(&sum, total + i, sizeof sum);
    sum += __builtin_convertvector(half, VecD);
    __builtin_memcpy(total + i, &sum, sizeof sum);
  }
}

template <int X, class T>
PYDL_INLINE void prefetch(const Pointers<X, T>& x, int64_t i) {
#pragma GCC unroll 4
  for (int k = 0; k < X; ++k) __builtin_prefetch(x.p[k] + i);
}

// total[k * channels + c] += the K sums over up to kRows rows, for `n` channels from c on.
template <int K, int X, int P, class T, class F>
PYDL_INLINE void sum_columns(int64_t channels, int64_t c, int64_t n, const Pointers<X, T>& x,
                             int64_t first, int64_t rows, const Pointers<P>& p, const F& f,
                             double* total, T* y) {
  const Vectors<P> q = load_parameters<true>(p, c, n);
  Vec s[K] = {};
  if (rows == kRows && n == kLanes) {
#pragma GCC unroll 8
    for (int64_t r = 0; r < kRows; ++r) {
      // The rows are too many streams for the hardware to prefetch them.
      prefetch(x, (first + r + kRows) * channels + c);
      add_vector(x, (first + r) * channels + c, kLanes, q, f, s, y);
    }
  } else {
    for (int64_t r = 0; r < rows; ++r) add_vector(x, (first + r) * channels + c, n, q, f, s, y);
  }
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) add_lanes(s[k], n, total + k * channels + c);
}

// For channels c0 <= c < c1.
template <int K, int X, int P, class T, class F>
PYDL_INLINE void sum_rows(int64_t channels, int64_t c0, int64_t c1, const Pointers<X, T>& x,
                          int64_t first, int64_t rows, const Pointers<P>& p, const F& f,
                          double* total, T* y) {
  for (int64_t c = c0; c < c1; c += kLanes) {
    sum_columns<K>(channels, c, smaller(kLanes, c1 - c), x, first, rows, p, f, total, y);
  }
}

// out[k * channels + c] = the sum over chunks of part[(chunk * K + k) * channels + c].
PYDL_INLINE void add_parts(int64_t chunks, int64_t width, const double* part, double* out) {
  parallel_for(width, items_worth(kGrain, chunks), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      for (int64_t i = begin; i < end; ++i) out[i] += part[chunk * width + i];
    }
  });
}

// y += x, the double sums into float gradients.
PYDL_INLINE void add_to(int64_t n, const double* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(y[i] + x[i]);
}

class DoubleScratch {
 public:
  explicit DoubleScratch(int64_t n) : memory_(2 * n) {}
  double* data() const { return reinterpret_cast<double*>(memory_.data()); }

 private:
  Scratch memory_;
};

template <int K, int X, int P, class T, class F>
PYDL_INLINE void sum_channels_last(Channels s, const Pointers<X, T>& x, const Pointers<P>& p,
                                   const F& f, double* out, T* y) {
  const int64_t width = K * s.channels;
  const int64_t chunk_rows = 4 * kRows * items_worth(kGrain, 4 * kRows * s.channels);
  const int64_t chunks = ceil_div(s.outer, chunk_rows);
  // Channels are split too where there are few chunks.
  const int64_t group = chunks < 16 ? 16 * kLanes : s.channels;
  const int64_t groups = ceil_div(s.channels, group);
  DoubleScratch parts(chunks * width);
  const int64_t item_size = smaller(chunk_rows, s.outer) * smaller(group, s.channels);
  parallel_for(chunks * groups, items_worth(kGrain, item_size),
               [&](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t chunk = item / groups, c0 = item % groups * group;
                   const int64_t c1 = smaller(c0 + group, s.channels);
                   const int64_t row_end = smaller((chunk + 1) * chunk_rows, s.outer);
                   double* total = parts.data() + chunk * width;
                   for (int k = 0; k < K; ++k) {
                     for (int64_t c = c0; c < c1; ++c) total[k * s.channels + c] = 0;
                   }
                   for (int64_t row = chunk * chunk_rows; row < row_end; row += kRows) {
                     sum_rows<K>(s.channels, c0, c1, x, row, smaller(kRows, row_end - row), p, f,
                                 total, y);
                   }
                 }
               });
  add_parts(chunks, width, parts.data(), out);
}

template <int K, int X, int P, class T, class F>
PYDL_INLINE void sum_plain(Channels s, const Pointers<X, T>& x, const Pointers<P>& p, const F& f,
                           double* out, T* y) {
  const int64_t width = K * s.channels;
  const int64_t pieces = ceil_div(s.inner, kGrain);
  DoubleScratch parts(s.outer * pieces * width);
  const int64_t grain = items_worth(kGrain, smaller(s.inner, kGrain));
  parallel_for(s.outer * pieces * s.channels, grain, [&](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / pieces, piece = item % pieces;  // row: (outer, channel)
      const int64_t o = row / s.channels, c = row % s.channels;
      const int64_t n = smaller(kGrain, s.inner - piece * kGrain);
      const Vectors<P> q = load_parameters<false>(p, c, kLanes);
      double total[K] = {};
      sum_run(n, x, row * s.inner + piece * kGrain, q, f, total, y);
      double* part = parts.data() + (o * pieces + piece) * width;
      for (int k = 0; k < K; ++k) part[k * s.channels + c] = total[k];
    }
  });
  add_parts(s.outer * pieces, width, parts.data(), out);
}

// out (K, channels) = K sums per channel of what f(x, p, sums) adds to `sums`: x and p are arrays
// of vectors as for map_channels, `sums` an array of K vectors. If f returns a vector, that goes to
// y. The result does not depend on the number of threads.
template <int K, int X, int P, class T, class F>
PYDL_INLINE void sum_channels(Channels shape, const Pointers<X, T>& x, const Pointers<P>& p,
                              const F& f, double* out, T* y = nullptr) {
  const Channels s = simplified(shape);
  if (s.inner == 1 && s.channels > 1) {
    sum_channels_last<K>(s, x, p, f, out, y);
  } else {
    sum_plain<K>(s, x, p, f, out, y);
  }
}

}  // namespace pydl::kernels::PYDL_ISA
