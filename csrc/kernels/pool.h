// Max and average pooling over two axes, by Caffe's rules.
//
// A window starts at o * stride - pad. For MAX it is clipped to the input; the first maximum in
// row-major order wins. For AVE it is clipped to the input plus padding to get the divisor, then to
// the input for the sum. A window wholly outside the input (Caffe's CEIL rule with stride > kernel
// and no padding) gives 0, mask -1 and no gradient; Caffe gives NaN or -FLT_MAX and writes out of
// bounds.
//
// A later value wins only if it compares greater: NaN stays where it comes first in a window, and
// is passed over elsewhere.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct PoolShape {
  int64_t n, c, h, w, oh, ow;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  bool channels_last;  // x: (N, H, W, C), y: (N, OH, OW, C); else (N, C, H, W), (N, C, OH, OW)
};

struct PoolKernels {
  // mask has y's layout and holds h * W + w of the maximum within its plane. It may be null.
  void (*max_forward)(const PoolShape&, ConstArray x, Array y, int32_t* mask);
  // dx is overwritten, here and in ave_backward.
  void (*max_backward)(const PoolShape&, ConstArray dy, const int32_t* mask, Array dx);
  void (*ave_forward)(const PoolShape&, ConstArray x, Array y);
  void (*ave_backward)(const PoolShape&, ConstArray dy, Array dx);
};

const PoolKernels& pool_kernels();

}  // namespace pydl::kernels
