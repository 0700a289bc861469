// Pooling over up to three axes, by Caffe's rules: maximum, average, and stochastic (Zeiler &
// Fergus 2013, arXiv:1301.3557).
//
// A window starts at o * stride - pad. For MAX it is clipped to the input; the first maximum in
// row-major order wins. For AVE it is clipped to the input plus padding to get the divisor (to the
// input alone if padding does not count), then to the input for the sum. A window wholly outside
// the input (Caffe's CEIL rule with stride > kernel and no padding) gives 0, no mask and no
// gradient; Caffe gives NaN or -FLT_MAX and writes out of bounds.
//
// A later value wins only if it compares greater: NaN stays where it comes first in a window, and
// is passed over elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "pydl/array.h"

namespace pydl::kernels {

struct PoolAxis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0;
  bool padding_counts = true;
};

struct PoolShape {
  int64_t n, c;
  PoolAxis d, h, w;    // an axis that is not there has size 1
  bool channels_last;  // x: (N, D, H, W, C), y: (N, OD, OH, OW, C); else (N, C, D, H, W), ...

  // Of a plane. Always inlined, as is what follows: code for several instruction sets includes it.
  [[gnu::always_inline]] int64_t in_count() const { return d.in * h.in * w.in; }
  [[gnu::always_inline]] int64_t out_count() const { return d.out * h.out * w.out; }
};

// The mask of MAX has y's layout. It holds where in its window the maximum is, as the number of the
// position in row-major order, of the window before it is clipped; kNoMaximum (as the type holds
// it) for one outside of the input. As uint8_t where that has room for all, else as int32_t.
constexpr int kNoMaximum = -1;
[[gnu::always_inline]] inline bool pool_mask_is_small(const PoolShape& s) {
  return s.d.kernel * s.h.kernel * s.w.kernel < 256;
}

struct PoolKernels {
  // The mask may be null.
  void (*max_forward)(const PoolShape&, ConstArray x, Array y, std::byte* mask);
  // dx is overwritten, here and in ave_backward.
  void (*max_backward)(const PoolShape&, ConstArray dy, const std::byte* mask, Array dx);
  void (*ave_forward)(const PoolShape&, ConstArray x, Array y);
  void (*ave_backward)(const PoolShape&, ConstArray dy, Array dx);

  // STOCHASTIC, of channels-last arrays without padding. In training a value of each window, drawn
  // with a probability in proportion to it: the first one at which the sum so far is more than
  // random[o], from [0, 1), of the whole sum; else the last. max_backward is its gradient.
  void (*sample_forward)(const PoolShape&, const float* x, const float* random, float* y,
                         std::byte* mask);
  // In testing the expected value of that, y = sum x^2 / sum x; 0 where sum x <= 0.
  void (*expect_forward)(const PoolShape&, const float* x, float* y);
  // dx = sum over windows of dy (2 x - y) / sum x; overwritten.
  void (*expect_backward)(const PoolShape&, const float* x, const float* y, const float* dy,
                          float* dx);
};

const PoolKernels& pool_kernels();

// f(const uint8_t*) or f(const int32_t*): the mask as what it is; likewise to write it.
template <class Byte, class F>
decltype(auto) with_mask(const PoolShape& s, Byte* mask, F&& f) {
  if constexpr (std::is_const_v<Byte>) {
    if (pool_mask_is_small(s)) return f(reinterpret_cast<const uint8_t*>(mask));
    return f(reinterpret_cast<const int32_t*>(mask));
  } else {
    if (pool_mask_is_small(s)) return f(reinterpret_cast<uint8_t*>(mask));
    return f(reinterpret_cast<int32_t*>(mask));
  }
}

}  // namespace pydl::kernels
