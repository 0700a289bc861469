// The memory of a packed matrix (gemm.h), managed in one place for all instruction sets.
#pragma once

#include <cstdint>

#include "kernels/gemm.h"

namespace pydl::kernels {

// op(B) (k, n) as panels of `panel` columns, each (steps, panel), the last one padded with zeros to
// a width of its own; a step is one float or two bfloat16 along k. panel 0 is the reference's plain
// (k, n) in float, rounded to dtype.
struct PackedMatrix {
  int64_t k, n, panel;
  DType dtype;
  int64_t capacity;  // floats in data
  float* data;       // 64-byte aligned
};

// Uninitialised, in the memory of `reuse` if that is large enough; `floats` is what it takes.
PackedMatrixPtr make_packed(int64_t k, int64_t n, int64_t panel, DType dtype, int64_t floats,
                            PackedMatrixPtr reuse);

// Throws pydl::Error unless the matrix is (k, n) of that type in panels of that width: one packed
// for another problem, or under another instruction set.
void check_packed(const PackedMatrix& b, int64_t k, int64_t n, int64_t panel, DType dtype);

}  // namespace pydl::kernels
