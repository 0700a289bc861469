// The largest values along the middle axis of (outer, n, inner), and where they are.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct ArgMaxShape {
  int64_t outer, n, inner;
  int64_t k;       // how many are wanted, 1 to n
  int64_t stride;  // floats from the results of one outer index to those of the next: k inner, say
};

struct ArgMaxKernels {
  // index, value: (outer, k, inner), the k largest in falling order; either may be null. As in
  // Caffe, the later one of equal values comes first. NaN counts as larger than any number.
  void (*largest)(const ArgMaxShape&, const float* x, float* index, float* value);
};

const ArgMaxKernels& arg_max_kernels();

}  // namespace pydl::kernels
