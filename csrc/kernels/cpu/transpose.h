// Moving the elements of vectors: pairs, and transposing a square in registers.
#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

// a0 b0 a1 b1 ..., from the first (kHigh: second) halves of a and b.
template <bool kHigh>
PYDL_INLINE Vec interleave(Vec a, Vec b) {
  VecI from;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    from[i] = i / 2 + (kHigh ? kLanes / 2 : 0) + (i % 2 ? kLanes : 0);
  }
  return __builtin_shuffle(a, b, from);
}

// Of a and b behind each other, elements kFirst, kFirst + 2 ...
template <int kFirst>
PYDL_INLINE Vec each_second(Vec a, Vec b) {
  VecI from;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) from[i] = 2 * i + kFirst;
  return __builtin_shuffle(a, b, from);
}

// log2(kLanes) times, rows i and i + kLanes / 2 are interleaved into rows 2 i and 2 i + 1: each
// time the index (row, column) turns by one bit, in the end row and column have changed places.
PYDL_INLINE void transpose(Vec (&x)[kLanes]) {
#pragma GCC unroll 4
  for (int bit = 1; bit < kLanes; bit *= 2) {
    Vec y[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      y[2 * i] = interleave<false>(x[i], x[i + kLanes / 2]);
      y[2 * i + 1] = interleave<true>(x[i], x[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) x[i] = y[i];
  }
}

}  // namespace pydl::kernels::PYDL_ISA
