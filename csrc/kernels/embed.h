// Rows of a table, by index: the lookup of an embedding, and its gradient.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct EmbedKernels {
  // y[n] = w[index[n]] + bias.  y: (count, size)   w: (rows, size)   bias: (size), or null
  // Indices are integers in [0, rows), as floats; the caller has checked that.
  void (*gather)(int64_t count, int64_t rows, int64_t size, const float* index, const float* w,
                 const float* bias, Array y);
  // dw[index[n]] += dy[n], in the order of n whatever the number of threads.
  void (*scatter_add)(int64_t count, int64_t rows, int64_t size, const float* index, ConstArray dy,
                      float* dw);
};

const EmbedKernels& embed_kernels();

}  // namespace pydl::kernels
