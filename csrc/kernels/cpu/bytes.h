// Vectors of integers below 256 that are bytes in memory. Before cpu/map.h, whose templates use it.
#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
PYDL_INLINE VecI widen(Bytes b) {
#if defined(__AVX512F__)
  return (VecI)_mm512_maskz_cvtepu8_epi32(0xffff, (__m128i)b);
#elif defined(__AVX2__)
  return (VecI)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)b));
#else
  return __builtin_convertvector(b, VecI);
#endif
}
PYDL_INLINE Bytes narrow(VecI v) {
#if defined(__AVX512F__)
  return (Bytes)_mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v);
#elif defined(__AVX2__)
  const __m256i halves = _mm256_packs_epi32((__m256i)v, (__m256i)v);
  const __m256i quarters = _mm256_packus_epi16(halves, halves);  // the same in each half of v
  const __m128i joined =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(quarters), _mm256_extracti128_si256(quarters, 1));
  return (Bytes)_mm_cvtsi128_si64(joined);
#else
  return __builtin_convertvector(v, Bytes);
#endif
}
PYDL_INLINE VecI load(const uint8_t* p) {
  Bytes b;
  __builtin_memcpy(&b, p, sizeof b);
  return widen(b);
}
PYDL_INLINE void store(uint8_t* p, VecI v) {
  const Bytes b = narrow(v);
  __builtin_memcpy(p, &b, sizeof b);
}
#if defined(__AVX512F__)
PYDL_INLINE VecI load_n(const uint8_t* p, int64_t n) {
  return widen((Bytes)_mm_maskz_loadu_epi8(first_lanes(n), p));
}
PYDL_INLINE void store_n(uint8_t* p, VecI v, int64_t n) {
  _mm_mask_storeu_epi8(p, first_lanes(n), (__m128i)narrow(v));
}
#else
PYDL_INLINE VecI load_n(const uint8_t* p, int64_t n) {
  Bytes b{};
  for (int i = 0; i < kLanes && i < n; ++i) b[i] = p[i];
  return widen(b);
}
PYDL_INLINE void store_n(uint8_t* p, VecI v, int64_t n) {
  const Bytes b = narrow(v);
  for (int i = 0; i < kLanes && i < n; ++i) p[i] = b[i];
}
#endif

}  // namespace pydl::kernels::PYDL_ISA
