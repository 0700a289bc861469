#pragma once

#include <cstdint>

namespace pydl::kernels {

// What a product or a convolution does to each value before it is stored: adds the column's (output
// channel's) bias, unless that is null; then, if asked to, makes it 0 where it is less (NaN stays).
struct Epilogue {
  const float* bias = nullptr;
  bool relu = false;

  // For the columns from j on.
  Epilogue from(int64_t j) const { return {bias ? bias + j : nullptr, relu}; }
};

}  // namespace pydl::kernels
