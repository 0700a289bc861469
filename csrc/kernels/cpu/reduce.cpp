// Sums along rows, their gradients, and sums over repeats (reduce.h).
#include "kernels/reduce.h"

#include "kernels/cpu/channels.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const ReduceKernels reduce;

namespace {

// A row is a channel. term(v): what a value adds.
template <class Term>
PYDL_INLINE void sum_rows(int64_t rows, int64_t n, float factor, const float* x, float* y,
                          const Term& term) {
  const DoubleScratch totals(rows);
  const auto add = [&](const Vec* v, const Vec*, Vec* sums) { sums[0] += term(v[0]); };
  float* none = nullptr;
  sum_plain<1>(Channels{1, rows, n}, pointers(x), Pointers<0>{}, add, totals.data(), none);
  for (int64_t r = 0; r < rows; ++r) y[r] = static_cast<float>(factor * totals.data()[r]);
}

void sum(int64_t rows, int64_t n, float factor, const float* x, float* y) {
  sum_rows(rows, n, factor, x, y, [](Vec v) { return v; });
}

void asum(int64_t rows, int64_t n, float factor, const float* x, float* y) {
  sum_rows(rows, n, factor, x, y, [](Vec v) { return abs(v); });
}

void sumsq(int64_t rows, int64_t n, float factor, const float* x, float* y) {
  sum_rows(rows, n, factor, x, y, [](Vec v) { return v * v; });
}

// dx = gradient(v, p): v the values of x, which may be none, and p the factor of their row.
template <int X, class Gradient>
PYDL_INLINE void map_all_rows(int64_t rows, int64_t n, const float* factor, const Pointers<X>& x,
                              float* dx, const Gradient& gradient) {
  map_rows<false>(Channels{1, rows, n}, rows, n, x, pointers(factor), dx, gradient);
}

void sum_backward(int64_t rows, int64_t n, const float* factor, float* dx) {
  map_all_rows(rows, n, factor, Pointers<0>{}, dx, [](const Vec*, const Vec* p) { return p[0]; });
}

void asum_backward(int64_t rows, int64_t n, const float* factor, const float* x, float* dx) {
  map_all_rows(rows, n, factor, pointers(x), dx, [](const Vec* v, const Vec* p) {
    const VecI sign_bit = (VecI)v[0] & broadcast(INT32_MIN);
    const Vec signed_factor = (Vec)((VecI)p[0] ^ sign_bit);
    return select((v[0] > Vec{}) | (v[0] < Vec{}), signed_factor, Vec{});
  });
}

void sumsq_backward(int64_t rows, int64_t n, const float* factor, const float* x, float* dx) {
  map_all_rows(rows, n, factor, pointers(x), dx,
               [](const Vec* v, const Vec* p) { return 2.0f * p[0] * v[0]; });
}

// ---- over repeats ----

// y = the sums of n rows of x, for kVectors vectors of columns: in blocks of rows, whose sums are
// added up.
template <int kVectors, class T, class Y>
PYDL_INLINE void sum_strip(int64_t n, int64_t stride, int64_t lanes, const T* x, Y* y) {
  constexpr int64_t kBlock = 32;
  Vec total[kVectors] = {};
  for (int64_t block = 0; block < n; block += kBlock) {
    Vec sum[kVectors] = {};
    for (int64_t j = block; j < smaller(block + kBlock, n); ++j) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[v] += load_some(x + j * stride + v * kLanes, lanes);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) total[v] += sum[v];
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) store_some(y + v * kLanes, total[v], lanes);
}

// y (width) = the sum of n rows of x, `stride` apart.
template <class T, class Y>
PYDL_INLINE void sum_repeats(int64_t n, int64_t width, int64_t stride, const T* x, Y* y) {
  constexpr int kVectors = 4;
  int64_t i = 0;
  for (; i + kVectors * kLanes <= width; i += kVectors * kLanes) {
    sum_strip<kVectors>(n, stride, kLanes, x + i, y + i);
  }
  for_each_vector(
      i, width, [=](int64_t at, int64_t lanes) { sum_strip<1>(n, stride, lanes, x + at, y + at); });
}

// The same of rows shorter than a vector: kLanes of them are taken as one of `width` vectors, whose
// sums are then folded.
template <class T>
PYDL_INLINE void sum_short_repeats(int64_t n, int64_t width, const T* x, T* y) {
  float wide[kLanes * kLanes];
  const int64_t rows = n / kLanes;
  sum_repeats(rows, kLanes * width, kLanes * width, x, wide);
  for (int64_t i = 0; i < width; ++i) {
    float total = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) total += wide[lane * width + i];
    for (int64_t j = rows * kLanes; j < n; ++j) total += x[j * width + i];
    y[i] = total;
  }
}

template <class T>
void sum_middle(int64_t outer, int64_t n, int64_t inner, const T* x, T* y) {
  constexpr int64_t kPiece = 1024;
  const int64_t pieces = ceil_div(inner, kPiece);
  parallel_for(outer * pieces, items_worth(kGrain, n * smaller(inner, kPiece)),
               [=](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t o = item / pieces, first = item % pieces * kPiece;
                   const T* from = x + o * n * inner + first;
                   T* to = y + o * inner + first;
                   if (inner < kLanes) {
                     sum_short_repeats(n, inner, from, to);
                   } else {
                     sum_repeats(n, smaller(kPiece, inner - first), inner, from, to);
                   }
                 }
               });
}

}  // namespace

const ReduceKernels reduce = {
    sum, asum, sumsq, sum_backward, asum_backward, sumsq_backward, PYDL_TYPED(sum_middle)};

}  // namespace pydl::kernels::PYDL_ISA
