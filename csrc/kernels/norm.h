// Batch normalisation (Ioffe & Szegedy 2015) over (outer, channels, inner).
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct NormShape {
  int64_t outer, channels, inner;  // statistics per channel over outer * inner values
};

struct NormKernels {
  // mean and biased variance per channel; two passes, accumulated in float blocks or double.
  void (*statistics)(const NormShape&, const float* x, float* mean, float* variance);
  // y = (x - mean) * inv_std per channel. y may be x.
  void (*normalize)(const NormShape&, const float* x, const float* mean, const float* inv_std,
                    float* y);
  // dx for batch statistics: inv_std (dy - mean(dy) - y mean(dy y)); y: the normalised values.
  // dx may be dy.
  void (*backward)(const NormShape&, const float* y, const float* inv_std, const float* dy,
                   float* dx);
};

const NormKernels& norm_kernels();

}  // namespace pydl::kernels
