// Memory together with the type of its elements: what blobs hand to kernels.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace pydl {

enum class DType : uint8_t { kFloat32, kBFloat16 };

constexpr int64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

// The upper half of a float32: 8 bits of exponent, 7 of mantissa.
struct bfloat16 {
  uint16_t bits;

  [[gnu::always_inline]] operator float() const {  // NOLINT: exact
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  // The nearest, ties to even; NaN stays NaN.
  [[gnu::always_inline]] bfloat16& operator=(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    bits = static_cast<uint16_t>(x != x ? u >> 16 | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16);
    return *this;
  }
};

struct ConstArray {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;

  ConstArray() = default;
  ConstArray(std::nullptr_t) {}            // NOLINT: pointers convert, as they do to const void*
  ConstArray(const float* p) : data(p) {}  // NOLINT
  ConstArray(const bfloat16* p) : data(p), dtype(DType::kBFloat16) {}  // NOLINT
  ConstArray(const void* p, DType type) : data(p), dtype(type) {}
  explicit operator bool() const { return data != nullptr; }
  // From element i on.
  ConstArray from(int64_t i) const {
    return {static_cast<const std::byte*>(data) + i * bytes_of(dtype), dtype};
  }
};

struct Array {
  void* data = nullptr;
  DType dtype = DType::kFloat32;

  Array() = default;
  Array(std::nullptr_t) {}                                  // NOLINT
  Array(float* p) : data(p) {}                              // NOLINT
  Array(bfloat16* p) : data(p), dtype(DType::kBFloat16) {}  // NOLINT
  Array(void* p, DType type) : data(p), dtype(type) {}
  operator ConstArray() const { return {data, dtype}; }  // NOLINT
  explicit operator bool() const { return data != nullptr; }
  Array from(int64_t i) const {
    return {static_cast<std::byte*>(data) + i * bytes_of(dtype), dtype};
  }
};

// f(const float*) or f(const bfloat16*); f(float*) or f(bfloat16*).
template <class F>
decltype(auto) with_type(ConstArray a, F&& f) {
  if (a.dtype == DType::kBFloat16) return std::forward<F>(f)(static_cast<const bfloat16*>(a.data));
  return std::forward<F>(f)(static_cast<const float*>(a.data));
}
template <class F>
decltype(auto) with_type(Array a, F&& f) {
  if (a.dtype == DType::kBFloat16) return std::forward<F>(f)(static_cast<bfloat16*>(a.data));
  return std::forward<F>(f)(static_cast<float*>(a.data));
}

}  // namespace pydl
