// Batch normalisation (Ioffe & Szegedy 2015) over (outer, channels, inner).
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct NormShape {
  int64_t outer, channels, inner;  // statistics per channel over outer * inner values
};

struct NormKernels {
  // mean and biased variance per channel; two passes, accumulated in float blocks or double.
  void (*statistics)(const NormShape&, ConstArray x, float* mean, float* variance);
  // y = (x - mean) * inv_std per channel. y may be x.
  void (*normalize)(const NormShape&, ConstArray x, const float* mean, const float* inv_std,
                    Array y);
  // dx for batch statistics: inv_std (dy - mean(dy) - y mean(dy y)); y: the normalised values.
  // dx may be dy.
  void (*backward)(const NormShape&, ConstArray y, const float* inv_std, ConstArray dy, Array dx);
};

const NormKernels& norm_kernels();

}  // namespace pydl::kernels
