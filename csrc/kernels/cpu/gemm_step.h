// A step of a product along k, by the type of its elements: one float, or two bfloat16, which meet
// as pairs. Either way a step of an operand is four bytes.
#pragma once

#include "kernels/cpu/bf16.h"

namespace pydl::kernels::PYDL_ISA {

template <class T>
struct StepOf;

template <>
struct StepOf<float> {
  static constexpr int kSize = 1;   // elements along k
  static constexpr int kParts = 1;  // multiply-adds it takes
  using Operand = Vec;

  PYDL_INLINE static Vec left(const float* a) { return broadcast(*a); }
  PYDL_INLINE static Vec left_alone(const float* a) { return broadcast(*a); }
  PYDL_INLINE static Vec right(const float* b) { return load(b); }
  PYDL_INLINE static Vec part(int, Vec v) { return v; }
  PYDL_INLINE static Vec multiply_add(Vec a, Vec b, Vec c) { return c + a * b; }
};

template <>
struct StepOf<bfloat16> {
  static constexpr int kSize = 2;

  PYDL_INLINE static VecU left(const bfloat16* a) {
    uint32_t pair;
    __builtin_memcpy(&pair, a, sizeof pair);
    return broadcast(pair);
  }
  // The last of an odd number: nothing behind it is read.
  PYDL_INLINE static VecU left_alone(const bfloat16* a) { return broadcast(uint32_t{a->bits}); }
  PYDL_INLINE static VecU right(const float* b) { return (VecU)load(b); }

#if defined(__AVX512BF16__)
  static constexpr int kParts = 1;
  using Operand = VecU;
  PYDL_INLINE static VecU part(int, VecU pairs) { return pairs; }
  PYDL_INLINE static Vec multiply_add(VecU a, VecU b, Vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
  }
#else
  // The second of a pair first, as the instruction does.
  static constexpr int kParts = 2;
  using Operand = Vec;
  PYDL_INLINE static Vec part(int i, VecU pairs) {
    return i == 0 ? second_of(pairs) : first_of(pairs);
  }
  PYDL_INLINE static Vec multiply_add(Vec a, Vec b, Vec c) { return c + a * b; }
#endif
};

// Of k elements; the last one may be incomplete.
template <class T>
constexpr int64_t steps(int64_t k) {
  return (k + StepOf<T>::kSize - 1) / StepOf<T>::kSize;
}

// f.operator()<T>() for the T that the products are of.
template <class F>
auto with_step(DType dtype, const F& f) {
  return dtype == DType::kBFloat16 ? f.template operator()<bfloat16>()
                                   : f.template operator()<float>();
}

}  // namespace pydl::kernels::PYDL_ISA
