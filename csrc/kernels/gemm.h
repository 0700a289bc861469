// Matrix products, row-major: C = op(A) op(B) + beta C, sums in float32.
//
// A, B, C, x and y are float32 or bfloat16, each by itself. Products are taken in the type of one
// of them, to which the other is rounded: B's where B is transposed and much larger than A (and is
// then read in place), else A's.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/epilogue.h"
#include "pydl/array.h"

namespace pydl::kernels {

struct GemmShape {
  int64_t m, n, k;
  bool trans_a = false, trans_b = false;  // A is (m, k) or, transposed, (k, m); B (k, n) or (n, k)
  int64_t lda = 0, ldb = 0, ldc = 0;      // row strides in elements; 0: rows are contiguous
  float beta = 0;                         // 0: C is written without being read
};

// A B operand rearranged for the micro-kernel; kept as long as the matrix does not change.
struct PackedMatrix;
struct PackedMatrixDeleter {
  void operator()(PackedMatrix* p) const;
};
using PackedMatrixPtr = std::unique_ptr<PackedMatrix, PackedMatrixDeleter>;

struct GemmKernels {
  // C = op(A) op(B) + beta C, then the epilogue. With a residual beta must be 0.
  void (*gemm)(const GemmShape&, ConstArray a, ConstArray b, const Epilogue&, Array c);
  // Packs op(B) once, for an A of `dtype` (m, lda, ldc, beta of the shape are not looked at);
  // `reuse` may be null or an earlier pack, whose memory is taken over when it fits.
  PackedMatrixPtr (*pack)(const GemmShape&, ConstArray b, DType dtype, PackedMatrixPtr reuse);
  // As gemm with B already packed.
  void (*gemm_packed)(const GemmShape&, ConstArray a, const PackedMatrix& b, const Epilogue&,
                      Array c);
  // y = op(A) x + beta y; A is (m, k) or transposed (k, m), as in GemmShape with n = 1.
  void (*gemv)(const GemmShape&, ConstArray a, ConstArray x, Array y);

  PackedMatrixPtr pack_b(const GemmShape& s, ConstArray b, PackedMatrixPtr reuse,
                         DType dtype = DType::kFloat32) const {
    return pack(s, b, dtype, std::move(reuse));
  }
};

const GemmKernels& gemm_kernels();  // for the instruction set in use (isa.h)

}  // namespace pydl::kernels
