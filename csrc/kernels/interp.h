// Bilinear interpolation between aligned corners: the first and last positions of input and output
// coincide, and along each axis output o is at o (in - 1) / (out - 1) of the input.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

// Of an array with `size` positions those from `begin` on are looked at, `in` of them.
struct InterpAxis {
  int64_t size, begin, in, out;

  // Between `lower`, counted from `begin`, and `upper`, the next one if there is one.
  struct Tap {
    int64_t lower, upper;
    float weight;  // of the upper one
  };
  // In float32, as DeepLab's and PSPNet's Caffe do it. Always inlined: code for several instruction
  // sets includes it.
  [[gnu::always_inline]] Tap tap(int64_t o) const {
    const float ratio = out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0;
    const float place = ratio * static_cast<float>(o);
    const auto floor = static_cast<int64_t>(place);
    const int64_t lower = floor < in ? floor : in - 1;
    return {lower, lower + (lower < in - 1 ? 1 : 0), place - static_cast<float>(lower)};
  }
};

// x: (n, h.size, w.size, channels)   y: (n, h.out, w.out, channels)
struct InterpShape {
  int64_t n, channels;
  InterpAxis h, w;
};

struct InterpKernels {
  void (*forward)(const InterpShape&, ConstArray x, Array y);
  // dx is overwritten; 0 outside of what forward looks at.
  void (*backward)(const InterpShape&, ConstArray dy, Array dx);
};

const InterpKernels& interp_kernels();

}  // namespace pydl::kernels
