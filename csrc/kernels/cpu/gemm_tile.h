// The micro-kernel: a register tile of C as a batch-reduced product (Georganas et al. 2019,
// arXiv:1906.06440).
//
//   C (rows, columns) = beta C + sum over taps t  A_t (rows, k) B_t (k, NV * kLanes)
//
// One of A's strides is 1: that of k when A is read in place, that of rows when A is packed or read
// transposed. The B_t follow one another, k rows each, zero-padded to whole vectors.
#pragma once

#include "kernels/cpu/gemm_params.h"
#include "kernels/epilogue.h"

namespace pydl::kernels::PYDL_ISA {

constexpr int64_t kOneTap[] = {0};

struct TileArgs {
  int64_t k = 0;
  int64_t taps = 1;
  const int64_t* tap = kOneTap;  // offsets into a
  const float* a = nullptr;
  int64_t a_stride = 0;  // the one that is not 1
  const float* b = nullptr;
  float* c = nullptr;
  int64_t ldc = 0;
  int64_t columns = 0;  // of C, in the last of NV vectors at least one
  float beta = 0;
  Epilogue epilogue;
  // What a later tile needs from memory: fetched meanwhile, a step for every k.
  const float* later = nullptr;
  int64_t later_step = 0;
};

enum class TileA { kRows, kColumns };  // consecutive in memory: k, or rows

template <int MR, int NV>
PYDL_INLINE void tile_store(const TileArgs& t, Vec (&acc)[MR][NV]) {
  const Vec beta = broadcast(t.beta);
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const int64_t first = v * kLanes, n = t.columns - first;
    float* c = t.c + first;
    const bool whole = n >= kLanes;
    Vec bias{};
    if (t.epilogue.bias) {
      bias = whole ? load(t.epilogue.bias + first) : load_n(t.epilogue.bias + first, n);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i, c += t.ldc) {
      if (t.beta != 0) acc[i][v] += beta * (whole ? load(c) : load_n(c, n));
      acc[i][v] += bias;
      if (t.epilogue.relu) acc[i][v] = relu(acc[i][v]);
      whole ? store(c, acc[i][v]) : store_n(c, acc[i][v], n);
    }
  }
}

template <int MR, int NV, TileA kA>
void tile(const TileArgs& t) {
  Vec acc[MR][NV] = {};
  const float *b = t.b, *later = t.later;
  for (int64_t i = 0; i < t.taps; ++i) {
    // A pointer every three rows: x86 addresses the other two as base + stride and + 2 stride.
    constexpr int kPointers = kA == TileA::kRows ? (MR + 2) / 3 : 1;
    const float* a[kPointers];
#pragma GCC unroll 8
    for (int p = 0; p < kPointers; ++p) a[p] = t.a + t.tap[i] + 3 * p * t.a_stride;
#pragma GCC unroll 4
    for (int64_t k = 0; k < t.k; ++k) {
      Vec vb[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) vb[v] = load(b + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const float x = kA == TileA::kRows ? a[r / 3][r % 3 * t.a_stride] : a[0][r];
        const Vec va = broadcast(x);
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) acc[r][v] += va * vb[v];
      }
#pragma GCC unroll 8
      for (int p = 0; p < kPointers; ++p) a[p] += kA == TileA::kRows ? 1 : t.a_stride;
      // B may come from memory; the hardware's own prefetch stops at every page, and where A's
      // rows are far apart there is none.
      if (kA == TileA::kColumns) {
        __builtin_prefetch(a[0] + kPrefetchRows * t.a_stride);
        __builtin_prefetch(a[0] + kPrefetchRows * t.a_stride + MR - 1);
      }
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) __builtin_prefetch(b + kPrefetch + v * kLanes);
      b += NV * kLanes;
      __builtin_prefetch(later);
      later += t.later_step;
    }
  }
  tile_store<MR, NV>(t, acc);
}

using TileFunction = void (*)(const TileArgs&);

// tile<1 .. kMR, NV, kA>, by the number of rows - 1.
template <int NV, TileA kA>
struct TileRow {
#if defined(__AVX512F__)
  static constexpr TileFunction by_rows[kMR] = {
      tile<1, NV, kA>,  tile<2, NV, kA>,  tile<3, NV, kA>,  tile<4, NV, kA>, tile<5, NV, kA>,
      tile<6, NV, kA>,  tile<7, NV, kA>,  tile<8, NV, kA>,  tile<9, NV, kA>, tile<10, NV, kA>,
      tile<11, NV, kA>, tile<12, NV, kA>, tile<13, NV, kA>, tile<14, NV, kA>};
#else
  static constexpr TileFunction by_rows[kMR] = {tile<1, NV, kA>, tile<2, NV, kA>, tile<3, NV, kA>,
                                                tile<4, NV, kA>, tile<5, NV, kA>, tile<6, NV, kA>};
#endif
};

// Runs the tile of `rows` (1 .. kMR) rows; its panel of B is as wide as panel_width(t.columns).
template <TileA kA>
PYDL_INLINE void run_tile(int64_t rows, const TileArgs& t) {
  const TileFunction* by_rows =
      t.columns > kLanes ? TileRow<2, kA>::by_rows : TileRow<1, kA>::by_rows;
  by_rows[rows - 1](t);
}

static_assert(kNV == 2);

// The width of a panel of B with `columns` (1 .. kNR) columns.
constexpr int64_t panel_width(int64_t columns) { return columns > kLanes ? kNR : kLanes; }

}  // namespace pydl::kernels::PYDL_ISA
