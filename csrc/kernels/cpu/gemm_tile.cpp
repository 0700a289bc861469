// The micro-kernels of gemm_tile.h, each made once.
#include "kernels/cpu/gemm_tile.h"

namespace pydl::kernels::PYDL_ISA {

namespace {

// Rows of C or of what is added to it: they are apart, so that no hardware fetches them.
template <int MR, int NV>
PYDL_INLINE void prefetch_rows(ConstArray first, int64_t stride) {
  const auto* from = static_cast<const char*>(first.data);
  const int64_t step = stride * bytes_of(first.dtype), width = kLanes * bytes_of(first.dtype);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i, from += step) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) __builtin_prefetch(from + v * width);
  }
}

template <class T, int MR, int NV, TileA kA>
void tile(const TileArgsOf<T>& t) {
  using Step = StepOf<T>;
  Vec acc[MR][NV] = {};
  prefetch_rows<MR, NV>(t.c, t.ldc);
  if (t.beta != 0 && t.addend) prefetch_rows<MR, NV>(t.addend, t.ld_addend);
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

}  // namespace

template <class T, int NV, TileA kA>
const TileFunction<T> TileRow<T, NV, kA>::by_rows[kMR] =
#if defined(__AVX512F__)
    {tile<T, 1, NV, kA>,  tile<T, 2, NV, kA>,  tile<T, 3, NV, kA>,  tile<T, 4, NV, kA>,
     tile<T, 5, NV, kA>,  tile<T, 6, NV, kA>,  tile<T, 7, NV, kA>,  tile<T, 8, NV, kA>,
     tile<T, 9, NV, kA>,  tile<T, 10, NV, kA>, tile<T, 11, NV, kA>, tile<T, 12, NV, kA>,
     tile<T, 13, NV, kA>, tile<T, 14, NV, kA>};
#else
    {tile<T, 1, NV, kA>, tile<T, 2, NV, kA>, tile<T, 3, NV, kA>,
     tile<T, 4, NV, kA>, tile<T, 5, NV, kA>, tile<T, 6, NV, kA>};
#endif

template struct TileRow<float, 1, TileA::kRows>;
template struct TileRow<float, 2, TileA::kRows>;
template struct TileRow<float, 1, TileA::kColumns>;
template struct TileRow<float, 2, TileA::kColumns>;
template struct TileRow<bfloat16, 1, TileA::kRows>;
template struct TileRow<bfloat16, 2, TileA::kRows>;
template struct TileRow<bfloat16, 1, TileA::kColumns>;
template struct TileRow<bfloat16, 2, TileA::kColumns>;

}  // namespace pydl::kernels::PYDL_ISA
