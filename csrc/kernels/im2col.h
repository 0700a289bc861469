// The windows of images as columns (Chellapilla, Puri & Simard 2006), and back.
//
//   x: (planes, in...)   columns: (planes, kernel..., out...), plain
//   columns[p, k, o] = x[p, o stride - pad + k dilation], 0 in the padding
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pydl::kernels {

struct Im2colAxis {
  int64_t in, out, kernel, stride, pad, dilation;
};

struct Im2colShape {
  int64_t planes;
  std::vector<Im2colAxis> axis;  // one or more, outermost first
};

struct Im2colKernels {
  void (*im2col)(const Im2colShape&, const float* x, float* columns);
  // x = the sums of the columns' values where im2col took them from.
  void (*col2im)(const Im2colShape&, const float* columns, float* x);
};

const Im2colKernels& im2col_kernels();

}  // namespace pydl::kernels
