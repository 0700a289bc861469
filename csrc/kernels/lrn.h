// Local response normalisation (Krizhevsky et al. 2012).
//
//   across:  scale = k + alpha / size * sum of x^2 over `size` channels around c (zero outside)
//   within:  scale = 1 + alpha / size^2 * sum of x^2 over a size x size window around (h, w)
//   y = x * scale^-beta
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct LrnShape {
  int64_t outer, channels, inner;  // across: x is (outer, channels, inner); channels-last: inner 1
  int64_t h, w;                    // within: x is (outer, channels, h, w), or ...
  bool channels_last;              // ... (outer, h, w, channels)
  int64_t size;                    // odd
  float alpha, beta, k;
};

// The backward passes compute `scale` again: that is cheaper than reading it.
struct LrnKernels {
  void (*across_forward)(const LrnShape&, ConstArray x, Array y);
  void (*across_backward)(const LrnShape&, ConstArray x, ConstArray dy, Array dx);
  void (*within_forward)(const LrnShape&, ConstArray x, Array y);
  void (*within_backward)(const LrnShape&, ConstArray x, ConstArray dy, Array dx);
};

const LrnKernels& lrn_kernels();

}  // namespace pydl::kernels
