// The definition of every product in gemm.h: plain loops, double accumulation.
#include "kernels/gemm.h"

#include <utility>

#include "kernels/packed.h"
#include "kernels/ref/array.h"

namespace pydl::kernels::ref {

extern const GemmKernels gemm;

namespace {

// op(X), element by element.
struct Operand {
  ConstArray x;
  int64_t row_stride, column_stride;
  float operator()(int64_t i, int64_t j) const {
    return get(x, i * row_stride + j * column_stride);
  }
};

// `columns` is the width of a row as it is stored.
Operand operand(ConstArray x, bool transposed, int64_t stride, int64_t columns) {
  if (stride == 0) stride = columns;
  return transposed ? Operand{x, 1, stride} : Operand{x, stride, 1};
}

Operand operand_a(const GemmShape& s, ConstArray a) {
  return operand(a, s.trans_a, s.lda, s.trans_a ? s.m : s.k);
}
Operand operand_b(const GemmShape& s, ConstArray b) {
  return operand(b, s.trans_b, s.ldb, s.trans_b ? s.k : s.n);
}

void multiply(const GemmShape& s, Operand a, Operand b, const Epilogue& epilogue, Array c) {
  const int64_t ldc = s.ldc ? s.ldc : s.n;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < s.k; ++p) sum += static_cast<double>(a(i, p)) * b(p, j);
      if (s.beta != 0) sum += static_cast<double>(s.beta) * get(c, i * ldc + j);
      if (epilogue.bias) sum += epilogue.bias[j];
      if (epilogue.residual) sum += get(epilogue.residual, i * ldc + j);
      if (epilogue.relu) sum = epilogue.rectified(sum);
      set(c, i * ldc + j, sum);
    }
  }
}

void gemm_plain(const GemmShape& s, ConstArray a, ConstArray b, const Epilogue& epilogue, Array c) {
  multiply(s, operand_a(s, a), operand_b(s, b), epilogue, c);
}

PackedMatrixPtr pack(const GemmShape& s, ConstArray b, DType dtype, PackedMatrixPtr reuse) {
  PackedMatrixPtr packed = make_packed(s.k, s.n, 0, dtype, s.k * s.n, std::move(reuse));
  const Operand op_b = operand_b(s, b);
  for (int64_t p = 0; p < s.k; ++p) {
    for (int64_t j = 0; j < s.n; ++j) packed->data[p * s.n + j] = rounded(op_b(p, j), dtype);
  }
  return packed;
}

void gemm_packed(const GemmShape& s, ConstArray a, const PackedMatrix& b, const Epilogue& epilogue,
                 Array c) {
  check_packed(b, s.k, s.n, 0, a.dtype);
  multiply(s, operand_a(s, a), Operand{b.data, s.n, 1}, epilogue, c);
}

void gemv(const GemmShape& s, ConstArray a, ConstArray x, Array y) {
  GemmShape column = s;
  column.n = 1;
  column.ldc = 1;
  multiply(column, operand_a(column, a), Operand{x, 1, 1}, {}, y);
}

}  // namespace

const GemmKernels gemm = {gemm_plain, pack, gemm_packed, gemv};

}  // namespace pydl::kernels::ref
