#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "pydl/array.h"

namespace pydl::kernels {

// What a product or a convolution does to each value before it is stored: adds the column's (output
// channel's) bias and the residual's value, unless these are null; then, if asked to, makes it 0
// where it is less and `ceiling` where it is more (NaN stays). The residual lies as the result
// does, and may be the result's own memory: that adds to what is there.
struct Epilogue {
  const float* bias = nullptr;
  bool relu = false;
  ConstArray residual = nullptr;
  float ceiling = std::numeric_limits<float>::infinity();  // of relu

  // For the columns from j on. Always inlined: code for several instruction sets includes it.
  [[gnu::always_inline]] Epilogue from(int64_t j) const {
    return {bias ? bias + j : nullptr, relu, residual_at(j), ceiling};
  }
  // A single value, of float or double, after relu.
  template <class T>
  [[gnu::always_inline]] T rectified(T value) const {
    return value < 0 ? 0 : value > ceiling ? ceiling : value;
  }
  // Where the result's element i meets it.
  [[gnu::always_inline]] ConstArray residual_at(int64_t i) const {
    const auto* bytes = static_cast<const std::byte*>(residual.data);
    return {bytes ? bytes + i * bytes_of(residual.dtype) : nullptr, residual.dtype};
  }
};

}  // namespace pydl::kernels
