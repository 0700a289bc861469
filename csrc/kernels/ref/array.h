// Arrays of either type, element by element.
#pragma once

#include "pydl/array.h"

namespace pydl::kernels::ref {

inline float get(ConstArray a, int64_t i) {
  return with_type(a, [i](const auto* p) { return static_cast<float>(p[i]); });
}

inline void set(Array a, int64_t i, double value) {
  with_type(a, [=](auto* p) { p[i] = static_cast<float>(value); });
}

inline float rounded(float x, DType dtype) {
  if (dtype == DType::kFloat32) return x;
  bfloat16 y;
  y = x;
  return y;
}

}  // namespace pydl::kernels::ref
