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
#include "kernels/cpu/integers.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"

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

// ---- what follows the products ----

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
      if (epilogue.relu) acc[i][v] = relu(acc[i][v], epilogue.ceiling);
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

// ---- choosing a tile ----

template <class T>
using TileFunction = void (*)(const TileArgsOf<T>&);

// tile<1 .. kMR, NV, kA>, by the number of rows - 1 (gemm_tile.cpp).
template <class T, int NV, TileA kA>
struct TileRow {
  static const TileFunction<T> by_rows[kMR];
};

// Runs the tile of `rows` (1 .. kMR) rows; its panel of B is as wide as panel_width(t.columns).
template <TileA kA, class T>
PYDL_INLINE void run_tile(int64_t rows, const TileArgsOf<T>& t) {
  const TileFunction<T>* by_rows =
      t.columns > kLanes ? TileRow<T, 2, kA>::by_rows : TileRow<T, 1, kA>::by_rows;
  by_rows[rows - 1](t);
}

// Whether tiles of Ts take A by rows only, its rows along k.
#if defined(__AMX_BF16__)
template <class T>
constexpr bool kRowsOnly = StepOf<T>::kSize > 1;
#else
template <class T>
constexpr bool kRowsOnly = false;
#endif

// Runs one tile after the other; what an instruction set does between tiles is up to it
// (cpu/gemm_amx.h).
template <class T, TileA kA>
struct TileRunner {
  static constexpr int kRows = kMR;          // of a tile, at most
  static constexpr bool kJoinsRows = false;  // tiles gain if the next has the same panel

  PYDL_INLINE void run(int64_t rows, const TileArgsOf<T>& t) { run_tile<kA>(rows, t); }
  // C is complete only after this.
  PYDL_INLINE void flush() {}
};

static_assert(kNV == 2);

// The width of a panel of B with `columns` (1 .. kNR) columns.
constexpr int64_t panel_width(int64_t columns) { return columns > kLanes ? kNR : kLanes; }

// C (rows, columns) = beta C + A (rows, k) panel, in tiles of even numbers of rows; complete after
// runner->flush().
template <class T>
void multiply_panel(TileRunner<T, TileA::kRows>* runner, int64_t rows, int64_t k, const T* a,
                    int64_t lda, const float* panel, float beta, float* c, int64_t ldc,
                    int64_t columns) {
  const int tiles = static_cast<int>(ceil_div(rows, TileRunner<T, TileA::kRows>::kRows));
  TileArgsOf<T> t;
  t.k = k;
  t.a_stride = lda;
  t.b = panel;
  t.ldc = ldc;
  t.columns = columns;
  t.beta = beta;
  for (int i = 0; i < tiles; ++i) {
    const Range r = part_of(rows, i, tiles);
    t.a = a + r.begin * lda;
    t.c = c + r.begin * ldc;
    runner->run(r.end - r.begin, t);
  }
}

}  // namespace pydl::kernels::PYDL_ISA
