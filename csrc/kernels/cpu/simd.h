// The widest float vector of the instruction set that a cpu/*.cpp file is being compiled for.
//
// Arithmetic, comparisons and `mask ? a : b` are the compiler's own on vector types; a * b + c
// becomes one fused multiply-add where there is one. Everything lives in the namespace of the
// instruction set, so that no AVX-512 copy of an inline function can be linked into other code.
#pragma once

#ifndef PYDL_ISA
#error "PYDL_ISA is not set: only kernels/cpu/*.cpp, built once per instruction set, use simd.h"
#endif

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define PYDL_INLINE [[gnu::always_inline]] inline
// After the parameters of a lambda: everything that it calls is inlined in it, bodies of loops
// above all, which know then whether they get whole vectors.
#define PYDL_FLATTEN __attribute__((flatten))

namespace pydl::kernels::PYDL_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kLanes = kVectorBytes / 4;

typedef float Vec __attribute__((vector_size(kVectorBytes)));
typedef int32_t VecI __attribute__((vector_size(kVectorBytes)));  // also what comparisons give

PYDL_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PYDL_INLINE VecI load(const int32_t* p) {
  VecI v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PYDL_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
PYDL_INLINE void store(int32_t* p, VecI v) { __builtin_memcpy(p, &v, sizeof v); }

PYDL_INLINE Vec broadcast(float x) { return x - Vec{}; }
PYDL_INLINE VecI broadcast(int32_t x) { return x - VecI{}; }

// 0, 1, 2 ...
PYDL_INLINE VecI iota() {
  VecI v;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

// The first n lanes (0 <= n <= kLanes), zero in the others; no byte beyond them is touched.
#if defined(__AVX512F__)
PYDL_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
PYDL_INLINE Vec load_n(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
PYDL_INLINE void store_n(float* p, Vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
PYDL_INLINE VecI load_n(const int32_t* p, int64_t n) {
  return (VecI)_mm512_maskz_loadu_epi32(first_lanes(n), p);
}
PYDL_INLINE void store_n(int32_t* p, VecI v, int64_t n) {
  _mm512_mask_storeu_epi32(p, first_lanes(n), (__m512i)v);
}
#elif defined(__AVX2__)
PYDL_INLINE __m256i first_lanes(int64_t n) {
  return (__m256i)(iota() < broadcast(static_cast<int32_t>(n)));
}
PYDL_INLINE Vec load_n(const float* p, int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
PYDL_INLINE void store_n(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
PYDL_INLINE VecI load_n(const int32_t* p, int64_t n) {
  return (VecI)_mm256_maskload_epi32(p, first_lanes(n));
}
PYDL_INLINE void store_n(int32_t* p, VecI v, int64_t n) {
  _mm256_maskstore_epi32(p, first_lanes(n), (__m256i)v);
}
#else
PYDL_INLINE Vec load_n(const float* p, int64_t n) {
  Vec v{};
  for (int i = 0; i < kLanes && i < n; ++i) v[i] = p[i];
  return v;
}
PYDL_INLINE void store_n(float* p, Vec v, int64_t n) {
  for (int i = 0; i < kLanes && i < n; ++i) p[i] = v[i];
}
PYDL_INLINE VecI load_n(const int32_t* p, int64_t n) {
  VecI v{};
  for (int i = 0; i < kLanes && i < n; ++i) v[i] = p[i];
  return v;
}
PYDL_INLINE void store_n(int32_t* p, VecI v, int64_t n) {
  for (int i = 0; i < kLanes && i < n; ++i) p[i] = v[i];
}
#endif

PYDL_INLINE Vec select(VecI mask, Vec a, Vec b) { return mask ? a : b; }
PYDL_INLINE VecI select(VecI mask, VecI a, VecI b) { return mask ? a : b; }

// b where either is NaN: just what the instructions do, which the compiler does not find.
#if defined(__AVX512F__)
PYDL_INLINE Vec max(Vec a, Vec b) { return _mm512_maskz_max_ps(0xffff, a, b); }
PYDL_INLINE Vec min(Vec a, Vec b) { return _mm512_maskz_min_ps(0xffff, a, b); }
#elif defined(__AVX2__)
PYDL_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
PYDL_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
#elif defined(__SSE2__)
PYDL_INLINE Vec max(Vec a, Vec b) { return _mm_max_ps(a, b); }
PYDL_INLINE Vec min(Vec a, Vec b) { return _mm_min_ps(a, b); }
#else
PYDL_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
PYDL_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
#endif

// 0 where v is less; NaN stays.
PYDL_INLINE Vec relu(Vec v) { return max(Vec{}, v); }
PYDL_INLINE Vec relu(Vec v, float ceiling) { return min(broadcast(ceiling), relu(v)); }

PYDL_INLINE Vec abs(Vec v) { return (Vec)((VecI)v & 0x7fffffff); }

PYDL_INLINE Vec sqrt(Vec v) {
#if defined(__AVX512F__)
  return _mm512_maskz_sqrt_ps(0xffff, v);  // the plain one makes GCC warn
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(v);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

PYDL_INLINE Vec to_float(VecI v) { return __builtin_convertvector(v, Vec); }
PYDL_INLINE VecI truncate(Vec v) { return __builtin_convertvector(v, VecI); }

// To the nearest integer, ties to even; |v| < 2^22.
PYDL_INLINE Vec round(Vec v) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: the sum has no room for a fraction
  return (v + kMagic) - kMagic;
}

// Over the lanes, pairwise: always in the same order.
PYDL_INLINE float sum(Vec v) {
  float part[kLanes];
  store(part, v);
#pragma GCC unroll 4
  for (int n = kLanes / 2; n > 0; n /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < n; ++i) part[i] += part[i + n];
  }
  return part[0];
}
PYDL_INLINE float max(Vec v) {
  float part[kLanes];
  store(part, v);
#pragma GCC unroll 4
  for (int n = kLanes / 2; n > 0; n /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < n; ++i) part[i] = part[i] > part[i + n] ? part[i] : part[i + n];
  }
  return part[0];
}

}  // namespace pydl::kernels::PYDL_ISA
