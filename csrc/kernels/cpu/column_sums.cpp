#include "kernels/column_sums.h"

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/integers.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

extern const ColumnSums column_sums;

namespace {

constexpr int64_t kBlock = 256;  // rows that have a partial sum of their own

template <class T>
void sum_block(const T* x, int64_t rows, int64_t columns, float* out) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int64_t n = smaller(kLanes, columns - j);
    Vec total[4] = {};
    for (int64_t i = 0; i < rows; i += 4) {
#pragma GCC unroll 4
      for (int64_t r = 0; r < 4; ++r) {
        if (i + r < rows) total[r] += load_n(x + (i + r) * columns + j, n);
      }
    }
    store_n(out + j, (total[0] + total[1]) + (total[2] + total[3]), n);
  }
}

void add(int64_t rows, int64_t columns, ConstArray x, float* sums) {
  const int64_t blocks = ceil_div(rows, kBlock), stride = aligned_size(columns);
  Scratch scratch(blocks * stride);
  float* partial = scratch.data();
  parallel_for(blocks, ceil_div(100000, kBlock * columns), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      with_type(at(x, b * kBlock * columns), [&](const auto* from) {
        sum_block(from, smaller(kBlock, rows - b * kBlock), columns, partial + b * stride);
      });
    }
  });
  for (int64_t j = 0; j < columns; ++j) {
    double total = 0;
    for (int64_t b = 0; b < blocks; ++b) total += partial[b * stride + j];
    sums[j] += static_cast<float>(total);
  }
}

}  // namespace

const ColumnSums column_sums = {add};

}  // namespace pydl::kernels::PYDL_ISA
