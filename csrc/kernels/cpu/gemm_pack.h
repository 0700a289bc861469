// Rearranging operands for the micro-kernel, and to the type of its steps.
#pragma once

#include "kernels/cpu/gemm_params.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/integers.h"
#include "kernels/cpu/transpose.h"

namespace pydl::kernels::PYDL_ISA {

// A matrix in memory: op(X) = X or, transposed, X^T; stride between rows of X.
struct Operand {
  ConstArray x;
  int64_t stride;
  bool transposed;
  PYDL_INLINE ConstArray from(int64_t i, int64_t j) const {  // op(X)'s element (i, j)
    return at(x, transposed ? j * stride + i : i * stride + j);
  }
};

// Operands whose rows run along k are packed so many steps at a time, over all panels, and the next
// ones are fetched meanwhile: memory is read in long runs and few pages are open at once.
constexpr int64_t kPackStep = 16;

// One step of op(B), n <= kLanes columns: its rows are `stride` apart, and `rows` (1 .. kSize) of
// them are there.
template <class T, class S>
PYDL_INLINE Vec load_step(const S* b, int64_t stride, int64_t rows, int64_t n) {
  const auto row = [&](const S* p) { return n == kLanes ? load(p) : load_n(p, n); };
  if constexpr (StepOf<T>::kSize == 1) return row(b);
  return (Vec)pairs_of<S>(row(b), rows > 1 ? row(b + stride) : Vec{});
}

// kLanes steps, the first of them at b, of a column along which n elements are left.
template <class T, class S>
PYDL_INLINE Vec load_steps(const S* b, int64_t n) {
  constexpr int64_t kElements = kLanes * StepOf<T>::kSize;
  if constexpr (StepOf<T>::kSize == 1) return n >= kElements ? load(b) : load_n(b, n);
  return (Vec)load_pairs(b, n < kElements ? n : kElements);
}

// One vector's width of a panel: op(B) (k, n <= kLanes) to rows `width` apart.
template <class T, class S>
PYDL_INLINE void pack_columns(const S* b, int64_t stride, bool transposed, int64_t k, int64_t n,
                              int64_t width, float* out) {
  constexpr int64_t kSize = StepOf<T>::kSize;
  if (!transposed) {
    for (int64_t i = 0; i < k; i += kSize, b += kSize * stride, out += width) {
#pragma GCC unroll 2
      for (int r = 0; r < kSize; ++r) __builtin_prefetch(b + (kPackStep + r) * stride);
      store(out, load_step<T>(b, stride, k - i, n));
    }
    return;
  }
  for (int64_t i = 0; i < k; i += kLanes * kSize, out += kLanes * width) {
    const int64_t rows = steps<T>(k - i);
    Vec x[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      x[j] = j < n ? load_steps<T>(b + j * stride + i, k - i) : Vec{};
    }
    transpose(x);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      if (j < rows) store(out + j * width, x[j]);
    }
  }
}

template <class T, class S>
void pack_panel_of(const S* b, int64_t stride, bool transposed, int64_t k, int64_t columns,
                   float* out) {
  const int64_t width = panel_width(columns);
  for (int64_t v = 0; v < width; v += kLanes) {
    const int64_t left = columns - v < kLanes ? columns - v : kLanes;
    pack_columns<T>(b + (transposed ? v * stride : v), stride, transposed, k, left, width, out + v);
  }
}

// Floats of all panels of a B (k, n).
template <class T>
constexpr int64_t panels_size(int64_t k, int64_t n) {
  return larger(steps<T>(k), 1) * (n / kNR * kNR + (n % kNR ? panel_width(n % kNR) : 0));
}

// op(B) (k, columns <= kNR) starting at (k0, j0) as a panel of panel_width(columns) for products of
// Ts. The k before k0 are whole steps.
template <class T = float>
inline void pack_panel(const Operand& b, int64_t k0, int64_t k, int64_t j0, int64_t columns,
                       float* out) {
  const ConstArray from = b.from(k0, j0);
  if (from.dtype == DType::kBFloat16) {
    pack_panel_of<T>(static_cast<const bfloat16*>(from.data), b.stride, b.transposed, k, columns,
                     out);
  } else {
    pack_panel_of<T>(static_cast<const float*>(from.data), b.stride, b.transposed, k, columns, out);
  }
}

// Rows of a packed tile of A, in whole vectors.
constexpr int64_t kTileRows = round_up(kMR, kLanes);

// Rows [i0, i0 + rows) of a transposed A of Ts, k from k0 on, as (steps(k), kTileRows).
template <class T>
inline void pack_rows(const Operand& a, int64_t i0, int64_t rows, int64_t k0, int64_t k,
                      float* out) {
  constexpr int64_t kSize = StepOf<T>::kSize;
  const T* from = static_cast<const T*>(a.from(i0, k0).data);
  for (int64_t p = 0; p < k; p += kSize, from += kSize * a.stride, out += kTileRows) {
    for (int64_t v = 0; v < rows; v += kLanes) {
#pragma GCC unroll 2
      for (int r = 0; r < kSize; ++r) __builtin_prefetch(from + (kPackStep + r) * a.stride + v);
      store(out + v, load_step<T>(from + v, a.stride, k - p, smaller(rows - v, kLanes)));
    }
  }
}

}  // namespace pydl::kernels::PYDL_ISA
