#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

// The lanes that a mask selects, as bits.
PYDL_INLINE unsigned lane_bits(VecI mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
#else
  unsigned bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) bits |= static_cast<unsigned>(mask[lane] & 1) << lane;
  return bits;
#endif
}

}  // namespace pydl::kernels::PYDL_ISA
