// Matrix products, row-major: C = op(A) op(B) + beta C.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/epilogue.h"

namespace pydl::kernels {

struct GemmShape {
  int64_t m, n, k;
  bool trans_a = false, trans_b = false;  // A is (m, k) or, transposed, (k, m); B (k, n) or (n, k)
  int64_t lda = 0, ldb = 0, ldc = 0;      // row strides in floats; 0: rows are contiguous
  float beta = 0;                         // 0: C is written without being read
};

// A B operand rearranged for the micro-kernel; kept as long as the matrix does not change.
struct PackedMatrix;
struct PackedMatrixDeleter {
  void operator()(PackedMatrix* p) const;
};
using PackedMatrixPtr = std::unique_ptr<PackedMatrix, PackedMatrixDeleter>;

struct GemmKernels {
  // C = op(A) op(B) + beta C, then the epilogue.
  void (*gemm)(const GemmShape&, const float* a, const float* b, const Epilogue&, float* c);
  // Packs op(B) once (m, lda, ldc, beta of the shape are not looked at); `reuse` may be null or an
  // earlier pack, whose memory is taken over when it fits.
  PackedMatrixPtr (*pack_b)(const GemmShape&, const float* b, PackedMatrixPtr reuse);
  // As gemm with B already packed.
  void (*gemm_packed)(const GemmShape&, const float* a, const PackedMatrix& b, const Epilogue&,
                      float* c);
  // y = op(A) x + beta y; A is (m, k) or transposed (k, m), as in GemmShape with n = 1.
  void (*gemv)(const GemmShape&, const float* a, const float* x, float* y);
};

const GemmKernels& gemm_kernels();  // for the instruction set in use (isa.h)

}  // namespace pydl::kernels
