// Elementary functions on vectors. Errors are in units in the last place (ulp), over all floats,
// against the exact value; where a result would be denormal it may come out as 0 (parallel.h
// flushes denormals). NaN gives NaN.
//
// Polynomials are minimax fits whose coefficients were rounded to float one after another.
#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

constexpr float kInfinity = __builtin_inff();
constexpr float kNaN = __builtin_nanf("");

// 2^n, -126 <= n <= 127.
PYDL_INLINE Vec power_of_two(VecI n) { return (Vec)((n + 127) << 23); }

// v limited to [low, high]; NaN stays.
PYDL_INLINE Vec clamp(Vec v, float low, float high) {
  return min(broadcast(high), max(broadcast(low), v));
}

// exp(r) - 1 for |r| <= log(2) / 2.
PYDL_INLINE Vec expm1_near_0(Vec r) {
  Vec p = broadcast(0x1.9e7772p-13f);
  p = p * r + 0x1.6d3a3ap-10f;
  p = p * r + 0x1.1112d6p-7f;
  p = p * r + 0x1.5554f8p-5f;
  p = p * r + 0x1.555554p-3f;
  p = p * r + 0.5f;
  return p * r * r + r;
}

constexpr float kLog2E = 0x1.715476p0f;
// log(2), the first part short enough for n * kLog2High to be exact.
constexpr float kLog2High = 0x1.63p-1f, kLog2Low = -0x1.bd0106p-13f;

// v = n log(2) + r
PYDL_INLINE Vec reduce(Vec v, Vec* r) {
  const Vec n = round(v * kLog2E);
  *r = v - n * kLog2High - n * kLog2Low;
  return n;
}

// p * 2^n for integers |n| < 252.
PYDL_INLINE Vec scale_by_power(Vec p, Vec n) {
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(0xffff, p, n);
#else
  const VecI whole = truncate(n), half = whole >> 1;  // in two steps: 2^n may not be a float
  return p * power_of_two(half) * power_of_two(whole - half);
#endif
}

// 1 / v. 1 ulp; v must not be 0 or infinite.
PYDL_INLINE Vec reciprocal(Vec v) {
#if defined(__AVX512F__)
  const Vec y = _mm512_maskz_rcp14_ps(0xffff, v);  // 14 bits and a step of Newton's method
  return (1.0f - v * y) * y + y;
#else
  return 1.0f / v;
#endif
}

// exp(v) for -104 <= v <= 89, beyond which it is 0 or infinity.
PYDL_INLINE Vec exp_of_limited(Vec v) {
  Vec r;
  const Vec n = reduce(v, &r);
  return scale_by_power(expm1_near_0(r) + 1.0f, n);
}

// 1 ulp.
PYDL_INLINE Vec exp(Vec v) { return exp_of_limited(clamp(v, -104.0f, 89.0f)); }

// exp(v) - 1 without cancellation near 0. 1.6 ulp (0 below 2^-125).
PYDL_INLINE Vec expm1(Vec v) {
  Vec r;
  const Vec n = reduce(clamp(v, -30.0f, 89.0f), &r);
  const Vec half = power_of_two(truncate(n - 1.0f));  // 2^n / 2, as 2^128 is not a float
  return (expm1_near_0(r) * half + (half - 0.5f)) * 2.0f;
}

// 3 ulp.
PYDL_INLINE Vec tanh(Vec v) {
  const Vec e = expm1(clamp(v, -10.0f, 10.0f) * 2.0f);
  return e * reciprocal(e + 2.0f);
}

// 1 / (1 + exp(-v)). 1.6 ulp. exp(88) is still finite, as reciprocal() wants it.
PYDL_INLINE Vec sigmoid(Vec v) {
  return reciprocal(exp_of_limited(clamp(-v, -104.0f, 88.0f)) + 1.0f);
}

// m and e of v = m 2^e, sqrt(1/2) <= m < sqrt(2), for finite v > 0. By integer arithmetic, so that
// denormals count even where floating point takes them for 0.
PYDL_INLINE Vec split(Vec v, Vec* m) {
  const VecI is_denormal = (VecI)v < 0x00800000;
  const VecI bits = select(is_denormal, (VecI)to_float((VecI)v), (VecI)v);
  const VecI e = (bits - 0x3f3504f3) >> 23;  // of sqrt(1/2)
  *m = (Vec)(bits - (e << 23));
  return to_float(e - select(is_denormal, broadcast(149), VecI{}));
}

// log(1 + f) - f + f^2 / 2, for sqrt(1/2) <= 1 + f <= sqrt(2).
PYDL_INLINE Vec log1p_rest(Vec f) {
  Vec p = broadcast(-0x1.38d892p-4f);
  p = p * f + 0x1.056b1ap-3f;
  p = p * f + -0x1.0d858ep-3f;
  p = p * f + 0x1.22d7c0p-3f;
  p = p * f + -0x1.54720ap-3f;
  p = p * f + 0x1.99a026p-3f;
  p = p * f + -0x1.000228p-2f;
  p = p * f + 0x1.555554p-2f;
  return p * f * f * f;
}

// 1 ulp.
PYDL_INLINE Vec log(Vec v) {
  Vec m;
  const Vec e = split(v, &m), f = m - 1.0f;
  Vec y = e * kLog2Low + log1p_rest(f);
  y = y - f * f * 0.5f + f + e * kLog2High;
  const VecI bits = (VecI)v, magnitude = bits & 0x7fffffff;
  y = select(bits < 0, broadcast(kNaN), y);
  y = select(magnitude == 0, broadcast(-kInfinity), y);
  return select(bits >= 0x7f800000, v, y);  // infinity, NaN
}

// log(1 + e) for 0 <= e <= 1. 1.5 ulp.
PYDL_INLINE Vec log1p_of_unit(Vec e) {
  const VecI is_large = e > 0x1.a8279ap-2f;  // sqrt(2) - 1: log(2) + log((1 + e) / 2)
  const Vec f = select(is_large, e * 0.5f - 0.5f, e);
  const Vec y = log1p_rest(f) - f * f * 0.5f + f;
  return y + select(is_large, broadcast(0x1.62e430p-1f), Vec{});
}

// v^exponent for one finite exponent, with C's special cases for v < 0, 0 and infinity.
// (1.3 + |exponent| / 2) ulp.
class Power {
 public:
  explicit Power(float exponent) : exponent_(exponent) {
    // The first part has 12 bits, so that its product with an exponent of 2 is exact.
    high_ = __builtin_bit_cast(float, __builtin_bit_cast(int32_t, exponent) & ~0xfff);
    low_ = exponent - high_;
    is_integer_ = exponent == __builtin_floorf(exponent);
    is_odd_ = is_integer_ && __builtin_fabsf(exponent) < 16777216.0f &&
              static_cast<int32_t>(exponent) % 2 != 0;
  }

  PYDL_INLINE Vec operator()(Vec v) const {
    const Vec size = abs(v);
    Vec m;
    const Vec e = split(size, &m), f = m - 1.0f;
    // log2(v) = e + l
    const Vec l = (log1p_rest(f) - f * f * 0.5f + f) * kLog2E;
    const Vec high = e * high_, low = e * low_ + l * exponent_;
    const Vec n = round(clamp(high + low, -200.0f, 200.0f));
    const Vec r = clamp((high - n) + low, -1.0f, 1.0f);
    Vec y = scale_by_power(expm1_near_0(r * 0x1.62e430p-1f) + 1.0f, n);
    y = select((VecI)size == 0, broadcast(at_zero()), y);
    y = select((VecI)size == 0x7f800000, broadcast(at_infinity()), y);
    if (is_odd_) y = (Vec)((VecI)y | ((VecI)v & broadcast(INT32_MIN)));
    if (!is_integer_) {
      const VecI is_negative = ((VecI)v < 0) & ((VecI)size != 0) & ((VecI)size < 0x7f800000);
      y = select(is_negative, broadcast(kNaN), y);
    }
    return exponent_ == 0 ? broadcast(1.0f) : select((VecI)size > 0x7f800000, v, y);
  }

 private:
  float at_zero() const { return exponent_ > 0 ? 0 : kInfinity; }
  float at_infinity() const { return exponent_ > 0 ? kInfinity : 0; }

  float exponent_, high_, low_;
  bool is_integer_, is_odd_;
};

// v^(-3/4) for v > 0, infinity included. 1.5 ulp.
PYDL_INLINE Vec inverse_three_quarters(Vec v) {
#if defined(__AVX512F__)
  // v^-1/2 and (v v^-1/2)^-1/2 to 14 bits; the product is off by a quarter of the residue of the
  // one and half of that of the other, which Newton's step takes away.
  const Vec r = _mm512_maskz_rsqrt14_ps(0xffff, v), root = v * r;
  const Vec q = _mm512_maskz_rsqrt14_ps(0xffff, root), p = r * q;
  const Vec residue = (1.0f - root * r) * 0.5f + (1.0f - root * q * q);
  return select(v == kInfinity, Vec{}, p * (residue * 0.5f) + p);
#else
  const Vec r = 1.0f / sqrt(v);
  return r * sqrt(r);
#endif
}

}  // namespace pydl::kernels::PYDL_ISA
