// Kernels whose arrays are all float32 or all bfloat16, from one template over the element type.
#pragma once

#include <type_traits>

#include "pydl/array.h"

namespace pydl::kernels {

// An operand of another type than the first: throws pydl::Error.
[[noreturn]] void fail_mixed_types(DType first, DType other);

// The type of all arrays of a call among its arguments; null ones have none.
// Inlined always: a copy built for a newer instruction set must not be linked into other code.
class CommonType {
 public:
  template <class... A>
  [[gnu::always_inline]] explicit CommonType(const A&... arguments) {
    (see(arguments), ...);
  }
  [[gnu::always_inline]] DType get() const { return dtype_; }

 private:
  template <class A>
  [[gnu::always_inline]] void see(const A& a) {
    if constexpr (std::is_convertible_v<A, ConstArray> && !std::is_pointer_v<A>) {
      if (!a) return;
      if (seen_ && a.dtype != dtype_) fail_mixed_types(dtype_, a.dtype);
      dtype_ = a.dtype;
      seen_ = true;
    }
  }

  DType dtype_ = DType::kFloat32;
  bool seen_ = false;
};

// An array as the pointer that a kernel of one type takes; everything else as it is.
template <class To, class A>
[[gnu::always_inline]] inline To pass_as(A&& a) {
  if constexpr (std::is_pointer_v<To> && !std::is_convertible_v<A, To>) {
    return static_cast<To>(a.data);
  } else {
    return a;
  }
}

// A parameter that differs between the two functions is an array.
template <class F, class B>
using TypedParameter = std::conditional_t<
    std::is_same_v<F, B>, F,
    std::conditional_t<std::is_const_v<std::remove_pointer_t<F>>, ConstArray, Array>>;

template <auto kFloat, auto kBFloat16>
struct Typed;
template <class R, class... F, class... B, R (*kFloat)(F...), R (*kBFloat16)(B...)>
struct Typed<kFloat, kBFloat16> {
  static R call(TypedParameter<F, B>... a) {
    if (CommonType(a...).get() == DType::kBFloat16) return kBFloat16(pass_as<B>(a)...);
    return kFloat(pass_as<F>(a)...);
  }
};

}  // namespace pydl::kernels

// The entry of a table of kernels for a function template over the element type of its arrays.
#define PYDL_TYPED(kernel) \
  (&::pydl::kernels::Typed<&kernel<float>, &kernel<::pydl::bfloat16>>::call)
