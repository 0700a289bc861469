// Sums over the rows of a matrix: the gradient of a bias.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct ColumnSums {
  // sums[j] += sum over rows of x (rows, columns), in blocks that do not depend on the number of
  // threads.
  void (*add)(int64_t rows, int64_t columns, ConstArray x, float* sums);
};

const ColumnSums& column_sums_kernels();

}  // namespace pydl::kernels
