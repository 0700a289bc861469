// Rearranging operands for the micro-kernel.
#pragma once

#include "kernels/cpu/gemm_params.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/integers.h"
#include "kernels/cpu/transpose.h"

namespace pydl::kernels::PYDL_ISA {

// A matrix in memory: op(X) = X or, transposed, X^T; stride between rows of X.
struct Operand {
  const float* x;
  int64_t stride;
  bool transposed;
  PYDL_INLINE const float* at(int64_t i, int64_t j) const {  // of op(X)
    return transposed ? x + j * stride + i : x + i * stride + j;
  }
};

// Operands whose rows run along k are packed so many rows at a time, over all panels, and the next
// ones are fetched meanwhile: memory is read in long runs and few pages are open at once.
constexpr int64_t kPackStep = 16;

// One vector's width of a panel: op(B) (k, n <= kLanes) to rows `width` apart.
PYDL_INLINE void pack_columns(const float* b, int64_t stride, bool transposed, int64_t k, int64_t n,
                              int64_t width, float* out) {
  if (!transposed) {
    for (int64_t i = 0; i < k; ++i, b += stride, out += width) {
      __builtin_prefetch(b + kPackStep * stride);
      store(out, n == kLanes ? load(b) : load_n(b, n));
    }
    return;
  }
  for (int64_t i = 0; i < k; i += kLanes, out += kLanes * width) {
    const int64_t rows = k - i < kLanes ? k - i : kLanes;
    Vec x[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      if (rows == kLanes) {
        x[j] = j < n ? load(b + j * stride + i) : Vec{};
      } else {
        x[j] = j < n ? load_n(b + j * stride + i, rows) : Vec{};
      }
    }
    transpose(x);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      if (j < rows) store(out + j * width, x[j]);
    }
  }
}

// op(B) (k, columns <= kNR) starting at (k0, j0) as a panel of panel_width(columns).
inline void pack_panel(const Operand& b, int64_t k0, int64_t k, int64_t j0, int64_t columns,
                       float* out) {
  const int64_t width = panel_width(columns);
  for (int64_t v = 0; v * kLanes < width; ++v) {
    const int64_t left = columns - v * kLanes;
    pack_columns(b.at(k0, j0 + v * kLanes), b.stride, b.transposed, k,
                 left < kLanes ? left : kLanes, width, out + v * kLanes);
  }
}

// Rows of a packed tile of A, in whole vectors.
constexpr int64_t kTileRows = round_up(kMR, kLanes);

// Rows [i0, i0 + rows) of a transposed A, k from k0 on, as (k, kTileRows).
inline void pack_rows(const Operand& a, int64_t i0, int64_t rows, int64_t k0, int64_t k,
                      float* out) {
  const float* from = a.at(i0, k0);
  for (int64_t p = 0; p < k; ++p, from += a.stride, out += kTileRows) {
    for (int64_t v = 0; v < rows; v += kLanes) {
      const int64_t left = rows - v;
      __builtin_prefetch(from + kPackStep * a.stride + v);
      store(out + v, left < kLanes ? load_n(from + v, left) : load(from + v));
    }
  }
}

}  // namespace pydl::kernels::PYDL_ISA
