// Philox4x32-10 (core/random.h) on vectors, and loops over what it draws.
#pragma once

#include "kernels/cpu/map.h"

namespace pydl::kernels::PYDL_ISA {

typedef uint64_t VecU64 __attribute__((vector_size(kVectorBytes)));

// The product of the low halves of the lanes with m.
PYDL_INLINE VecU64 multiply_low(VecU64 v, uint32_t m) {
#if defined(__AVX512F__)
  return (VecU64)_mm512_maskz_mul_epu32(0xff, (__m512i)v, _mm512_set1_epi64(m));
#elif defined(__AVX2__)
  return (VecU64)_mm256_mul_epu32((__m256i)v, _mm256_set1_epi64x(m));
#elif defined(__SSE2__)
  return (VecU64)_mm_mul_epu32((__m128i)v, _mm_set1_epi64x(m));
#else
  return (v & 0xffffffffu) * m;
#endif
}

// kLanes / 2 consecutive blocks, from `index` on: words[0] and words[1] hold the 2 * kLanes words
// in order.
PYDL_INLINE void philox(uint64_t seed, uint64_t stream, uint64_t index, VecI (&words)[2]) {
  constexpr int kBlocks = kLanes / 2;
  // One block to a lane, the upper halves of the lanes hold rubbish.
  VecU64 count;
#pragma GCC unroll 8
  for (int i = 0; i < kBlocks; ++i) count[i] = static_cast<uint64_t>(i);
  VecU64 c0 = count + index, c1 = c0 >> 32;
  VecU64 c2 = VecU64{} + stream, c3 = VecU64{} + (stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const VecU64 p0 = multiply_low(c0, 0xD2511F53u), p1 = multiply_low(c2, 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c1 = p1;
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const VecU64 low = (c0 & 0xffffffffu) | c1 << 32, high = (c2 & 0xffffffffu) | c3 << 32;
  VecU64 first, second;
#pragma GCC unroll 8
  for (int i = 0; i < kBlocks; ++i) {
    const uint64_t source = static_cast<uint64_t>(i / 2 + (i % 2 ? kBlocks : 0));
    first[i] = source;
    second[i] = source + kBlocks / 2;
  }
  words[0] = (VecI)__builtin_shuffle(low, high, first);
  words[1] = (VecI)__builtin_shuffle(low, high, second);
}

// body(word, i, lanes): in parallel, for the words of the stream from word i on, a vector at a
// time.
template <class Body>
PYDL_INLINE void for_each_draw(int64_t n, uint64_t seed, uint64_t stream, const Body& body) {
  constexpr int64_t kStep = 2 * kLanes;  // what one call of philox() gives
  parallel_for(ceil_div(n, kStep), kMathGrain / kStep,
               [=](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t step = begin; step < end; ++step) {
                   const int64_t i = step * kStep;
                   VecI words[2];
                   philox(seed, stream, static_cast<uint64_t>(i / 4), words);
                   if (i + kStep <= n) {
                     body(words[0], i, kLanes);
                     body(words[1], i + kLanes, kLanes);
                   } else {
                     body(words[0], i, smaller(kLanes, n - i));
                     body(words[1], i + kLanes, larger(0, n - i - kLanes));
                   }
                 }
               });
}

// In [0, 1).
PYDL_INLINE Vec uniform_draw(VecI word) { return to_float((word >> 8) & 0xffffff) * 0x1p-24f; }

}  // namespace pydl::kernels::PYDL_ISA
