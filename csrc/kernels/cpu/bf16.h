// bfloat16 in memory, float in registers; and pairs of bfloat16, the units of products.
#pragma once

#include "kernels/cpu/simd.h"
#include "pydl/array.h"

namespace pydl::kernels::PYDL_ISA {

typedef uint32_t VecU __attribute__((vector_size(kVectorBytes)));
typedef uint16_t HalfU __attribute__((vector_size(kVectorBytes / 2)));  // kLanes bfloat16

// The float that a bfloat16 stands for has the same upper half.
PYDL_INLINE VecU widen(HalfU h) {
#if defined(__AVX512F__)
  return (VecU)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)h) << 16;
#elif defined(__AVX2__)
  return (VecU)_mm256_cvtepu16_epi32((__m128i)h) << 16;
#else
  return __builtin_convertvector(h, VecU) << 16;
#endif
}

// In the upper halves, the nearest bfloat16 (ties to even); a NaN stays one, quiet. The lower
// halves are left to be cut off.
PYDL_INLINE VecU round_to_bf16(Vec v) {
  const VecU bits = (VecU)v;
  const VecU rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (v == v) ? rounded : (bits | 0x400000);
}

PYDL_INLINE HalfU narrow(Vec v) {
#if defined(__AVX512BF16__)
  return (HalfU)_mm512_cvtneps_pbh(v);
#elif defined(__AVX512F__)
  return (HalfU)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)(round_to_bf16(v) >> 16));
#else
  return __builtin_convertvector(round_to_bf16(v) >> 16, HalfU);
#endif
}

PYDL_INLINE Vec load(const bfloat16* p) {
  HalfU h;
  __builtin_memcpy(&h, p, sizeof h);
  return (Vec)widen(h);
}
PYDL_INLINE void store(bfloat16* p, Vec v) {
  const HalfU h = narrow(v);
  __builtin_memcpy(p, &h, sizeof h);
}

// What load() gives after store() to an array of T.
template <class T>
PYDL_INLINE Vec rounded(Vec v) {
  if constexpr (sizeof(T) == sizeof(bfloat16)) return (Vec)widen(narrow(v));
  return v;
}

// The first n lanes (0 <= n <= kLanes), zero in the others; no byte beyond them is touched.
#if defined(__AVX512F__)
PYDL_INLINE Vec load_n(const bfloat16* p, int64_t n) {
  return (Vec)widen((HalfU)_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
PYDL_INLINE void store_n(bfloat16* p, Vec v, int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n), (__m256i)narrow(v));
}
#else
PYDL_INLINE Vec load_n(const bfloat16* p, int64_t n) {
  HalfU h{};
  for (int i = 0; i < kLanes && i < n; ++i) h[i] = p[i].bits;
  return (Vec)widen(h);
}
PYDL_INLINE void store_n(bfloat16* p, Vec v, int64_t n) {
  const HalfU h = narrow(v);
  for (int i = 0; i < kLanes && i < n; ++i) p[i].bits = h[i];
}
#endif

// ---- pairs: two bfloat16 in 32 bits, the first one in the lower half ----

PYDL_INLINE VecU broadcast(uint32_t x) { return x - VecU{}; }

PYDL_INLINE Vec first_of(VecU pairs) { return (Vec)(pairs << 16); }
PYDL_INLINE Vec second_of(VecU pairs) { return (Vec)(pairs & 0xffff0000u); }

// Lane i: (first[i], second[i]), of values loaded from elements of type T.
template <class T>
PYDL_INLINE VecU pairs_of(Vec first, Vec second) {
  if constexpr (sizeof(T) == sizeof(bfloat16)) return (VecU)first >> 16 | (VecU)second;
  return round_to_bf16(first) >> 16 | (round_to_bf16(second) & 0xffff0000u);
}

// Lane i: (p[2 i], p[2 i + 1]) of the first n <= 2 * kLanes elements, zero behind them.
template <class T>
PYDL_INLINE VecU load_pairs(const T* p, int64_t n) {
  VecU pairs;
  if (sizeof(T) == sizeof(bfloat16) && n == 2 * kLanes) {
    __builtin_memcpy(&pairs, p, sizeof pairs);
    return pairs;
  }
  const HalfU halves[2] = {narrow(n >= kLanes ? load(p) : load_n(p, n)),
                           narrow(n > kLanes ? load_n(p + kLanes, n - kLanes) : Vec{})};
  __builtin_memcpy(&pairs, halves, sizeof pairs);
  return pairs;
}

// ---- arrays of either type ----

PYDL_INLINE ConstArray at(ConstArray a, int64_t i) {
  return {static_cast<const char*>(a.data) + i * bytes_of(a.dtype), a.dtype};
}
PYDL_INLINE Array at(Array a, int64_t i) {
  return {static_cast<char*>(a.data) + i * bytes_of(a.dtype), a.dtype};
}
// n <= kLanes elements from i on.
PYDL_INLINE Vec load_n(ConstArray a, int64_t i, int64_t n) {
  if (a.dtype == DType::kBFloat16) return load_n(static_cast<const bfloat16*>(a.data) + i, n);
  return load_n(static_cast<const float*>(a.data) + i, n);
}

}  // namespace pydl::kernels::PYDL_ISA
