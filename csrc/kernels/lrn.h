// Local response normalisation (Krizhevsky et al. 2012).
//
//   across:  scale = k + alpha / size * sum of x^2 over `size` channels around c (zero outside)
//   within:  scale = 1 + alpha / size^2 * sum of x^2 over a size x size window around (h, w)
//   y = x * scale^-beta
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct LrnShape {
  int64_t outer, channels, inner;  // across: x is (outer, channels, inner); channels-last: inner 1
  int64_t h, w;                    // within: x is (outer, channels, h, w), or ...
  bool channels_last;              // ... (outer, h, w, channels)
  int64_t size;                    // odd
  float alpha, beta, k;
};

struct LrnKernels {
  void (*across_forward)(const LrnShape&, const float* x, float* scale, float* y);
  void (*across_backward)(const LrnShape&, const float* x, const float* y, const float* scale,
                          const float* dy, float* dx);
  void (*within_forward)(const LrnShape&, const float* x, float* scale, float* y);
  void (*within_backward)(const LrnShape&, const float* x, const float* y, const float* scale,
                          const float* dy, float* dx);
};

const LrnKernels& lrn_kernels();

}  // namespace pydl::kernels
