// The micro-kernel: a register tile of C as a batch-reduced product (Georganas et al. 2019,
// arXiv:1906.06440).
//
//   C (rows, columns) = beta C + sum over taps t  A_t (rows, k) B_t (k, NV * kLanes)
//
// in steps along k (cpu/gemm_step.h): one float, or a pair of bfloat16. One of A's strides is 1:
// that of k when A is read in place, that of rows when A is packed or read transposed, whole steps
// then following one another. The B_t follow one another, steps(k) rows each, zero-padded to whole
// vectors and steps.
#pragma once

#include "kernels/cpu/gemm_params.h"
#include "kernels/cpu/gemm_step.h"
#include "kernels/epilogue.h"

namespace pydl::kernels::PYDL_ISA {

constexpr int64_t kOneTap[] = {0};

template <class T>
struct TileArgsOf {
  int64_t k = 0;
  int64_t taps = 1;
  const int64_t* tap = kOneTap;  // offsets into a
  const T* a = nullptr;
  int64_t a_stride = 0;      // the one that is not 1
  const float* b = nullptr;  // steps of four bytes each
  Array c;
  int64_t ldc = 0;
  int64_t columns = 0;  // of C, in the last of NV vectors at least one
  float beta = 0;
  ConstArray addend;  // what beta multiplies, if not C itself
  int64_t ld_addend = 0;
  Epilogue epilogue;
  // What a later tile needs from memory: fetched meanwhile, a step for every k.
  const float* later = nullptr;
  int64_t later_step = 0;
};
using TileArgs = TileArgsOf<float>;

enum class TileA { kRows, kColumns };  // consecutive in memory: k, or rows

template <int MR, int NV, class E>
PYDL_INLINE void tile_add(float beta, const E* c, int64_t ldc, int64_t columns,
                          Vec (&acc)[MR][NV]) {
  const Vec factor = broadcast(beta);
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const int64_t n = columns - v * kLanes;
    const E* from = c + v * kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i, from += ldc) {
      acc[i][v] += factor * (n >= kLanes ? load(from) : load_n(from, n));
    }
  }
}

template <int MR, int NV>
PYDL_INLINE void tile_epilogue(const Epilogue& epilogue, int64_t columns, Vec (&acc)[MR][NV]) {
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const int64_t first = v * kLanes, n = columns - first;
    Vec bias{};
    if (epilogue.bias) {
      bias = n >= kLanes ? load(epilogue.bias + first) : load_n(epilogue.bias + first, n);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      acc[i][v] += bias;
      if (epilogue.relu) acc[i][v] = relu(acc[i][v]);
    }
  }
}

template <int MR, int NV, class E>
PYDL_INLINE void tile_store(E* c, int64_t ldc, int64_t columns, const Vec (&acc)[MR][NV]) {
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const int64_t n = columns - v * kLanes;
    E* to = c + v * kLanes;
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i, to += ldc) {
      n >= kLanes ? store(to, acc[i][v]) : store_n(to, acc[i][v], n);
    }
  }
}

template <int MR, int NV, class T>
PYDL_INLINE void tile_finish(const TileArgsOf<T>& t, Vec (&acc)[MR][NV]) {
  if (t.beta != 0) {
    const ConstArray from = t.addend ? t.addend : ConstArray(t.c);
    const int64_t ld = t.addend ? t.ld_addend : t.ldc;
    if (from.dtype == DType::kBFloat16) {
      tile_add(t.beta, static_cast<const bfloat16*>(from.data), ld, t.columns, acc);
    } else {
      tile_add(t.beta, static_cast<const float*>(from.data), ld, t.columns, acc);
    }
  }
  if (t.epilogue.bias || t.epilogue.relu) tile_epilogue(t.epilogue, t.columns, acc);
  if (t.c.dtype == DType::kBFloat16) {
    tile_store(static_cast<bfloat16*>(t.c.data), t.ldc, t.columns, acc);
  } else {
    tile_store(static_cast<float*>(t.c.data), t.ldc, t.columns, acc);
  }
}

template <class T, int MR, int NV, TileA kA>
void tile(const TileArgsOf<T>& t) {
  using Step = StepOf<T>;
  Vec acc[MR][NV] = {};
  const float *b = t.b, *later = t.later ? t.later : t.b;
  for (int64_t i = 0; i < t.taps; ++i) {
    // A pointer every three rows: x86 addresses the other two as base + stride and + 2 stride.
    constexpr int kPointers = kA == TileA::kRows ? (MR + 2) / 3 : 1;
    const T* a[kPointers];
#pragma GCC unroll 8
    for (int p = 0; p < kPointers; ++p) a[p] = t.a + t.tap[i] + 3 * p * t.a_stride;
    const auto step = [&](const auto& left) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int part = 0; part < Step::kParts; ++part) {
        // Each part loads its operands anew: there are no registers to keep them in.
        if (part > 0) asm volatile("" ::: "memory");
        typename Step::Operand vb[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) vb[v] = Step::part(part, Step::right(b + v * kLanes));
#pragma GCC unroll 16
        for (int r = 0; r < MR; ++r) {
          const T* x = kA == TileA::kRows ? a[r / 3] + r % 3 * t.a_stride : a[0] + r * Step::kSize;
          const typename Step::Operand va = Step::part(part, left(x));
#pragma GCC unroll 2
          for (int v = 0; v < NV; ++v) acc[r][v] = Step::multiply_add(va, vb[v], acc[r][v]);
        }
      }
      // B may come from memory; the hardware's own prefetch stops at every page, and where A's
      // rows are far apart there is none.
      if (kA == TileA::kColumns) {
        __builtin_prefetch(a[0] + kPrefetchRows * t.a_stride);
        __builtin_prefetch(a[0] + kPrefetchRows * t.a_stride + MR * Step::kSize - 1);
      }
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) __builtin_prefetch(b + kPrefetch + v * kLanes);
      b += NV * kLanes;
      __builtin_prefetch(later);
      later += t.later_step;
    };
#pragma GCC unroll 4
    for (int64_t k = Step::kSize; k <= t.k; k += Step::kSize) {
      step([](const T* x) __attribute__((always_inline)) { return Step::left(x); });
#pragma GCC unroll 8
      for (int p = 0; p < kPointers; ++p) a[p] += kA == TileA::kRows ? Step::kSize : t.a_stride;
    }
    if (Step::kSize > 1 && t.k % Step::kSize != 0) {
      step([](const T* x) __attribute__((always_inline)) { return Step::left_alone(x); });
    }
  }
  tile_finish<MR, NV>(t, acc);
}

template <class T>
using TileFunction = void (*)(const TileArgsOf<T>&);

// tile<1 .. kMR, NV, kA>, by the number of rows - 1.
template <class T, int NV, TileA kA>
struct TileRow {
#if defined(__AVX512F__)
  static constexpr TileFunction<T> by_rows[kMR] = {
      tile<T, 1, NV, kA>,  tile<T, 2, NV, kA>,  tile<T, 3, NV, kA>,  tile<T, 4, NV, kA>,
      tile<T, 5, NV, kA>,  tile<T, 6, NV, kA>,  tile<T, 7, NV, kA>,  tile<T, 8, NV, kA>,
      tile<T, 9, NV, kA>,  tile<T, 10, NV, kA>, tile<T, 11, NV, kA>, tile<T, 12, NV, kA>,
      tile<T, 13, NV, kA>, tile<T, 14, NV, kA>};
#else
  static constexpr TileFunction<T> by_rows[kMR] = {tile<T, 1, NV, kA>, tile<T, 2, NV, kA>,
                                                   tile<T, 3, NV, kA>, tile<T, 4, NV, kA>,
                                                   tile<T, 5, NV, kA>, tile<T, 6, NV, kA>};
#endif
};

// Runs the tile of `rows` (1 .. kMR) rows; its panel of B is as wide as panel_width(t.columns).
template <TileA kA, class T>
PYDL_INLINE void run_tile(int64_t rows, const TileArgsOf<T>& t) {
  const TileFunction<T>* by_rows =
      t.columns > kLanes ? TileRow<T, 2, kA>::by_rows : TileRow<T, 1, kA>::by_rows;
  by_rows[rows - 1](t);
}

static_assert(kNV == 2);

// The width of a panel of B with `columns` (1 .. kNR) columns.
constexpr int64_t panel_width(int64_t columns) { return columns > kLanes ? kNR : kLanes; }

}  // namespace pydl::kernels::PYDL_ISA
