// Matrix products. Matrices are arrays of float32, or of uint16 for the bits of bfloat16, whose
// rows are contiguous, at any row stride.

#include "bindings/kernel_table.h"
#include "kernels/gemm.h"

namespace pydl {

namespace {

using kernels::GemmShape;

struct Matrix {
  Array data;
  int64_t rows, columns, stride;  // stride 0: rows follow one another
};

Matrix matrix_of(const py::array& array, const char* name) {
  const bool bf16 = py::isinstance<py::array_t<uint16_t>>(array);
  if (!bf16 && !py::isinstance<py::array_t<float>>(array)) {
    throw Error(std::string("gemm: ") + name + " must be float32, or uint16 for bfloat16");
  }
  if (array.ndim() != 2) throw Error(std::string("gemm: ") + name + " must have 2 axes");
  const DType dtype = bf16 ? DType::kBFloat16 : DType::kFloat32;
  Matrix m{{const_cast<void*>(array.data()), dtype}, array.shape(0), array.shape(1), 0};
  if (m.rows == 0 || m.columns == 0) return m;
  const py::ssize_t size = array.itemsize();
  const bool dense = m.columns == 1 || array.strides(1) == size;
  if (!dense || (m.rows > 1 && array.strides(0) < m.columns * size)) {
    throw Error(std::string("gemm: the rows of ") + name + " must be contiguous and apart");
  }
  if (m.rows > 1) m.stride = array.strides(0) / size;
  return m;
}

Matrix output(py::array array, const char* name) {
  array.mutable_data();  // throws if it is read-only
  return matrix_of(array, name);
}

const float* bias_of(const std::optional<FloatArray>& bias, int64_t n) {
  if (bias && bias->size() != n) throw Error("gemm: bias must have a value for each column of c");
  return bias ? bias->data() : nullptr;
}

// Of any type, in rows as those of c.
ConstArray residual_of(const std::optional<py::array>& residual, const Matrix& c) {
  if (!residual) return nullptr;
  const Matrix m = matrix_of(*residual, "residual");
  if (m.rows != c.rows || m.columns != c.columns || m.stride != c.stride) {
    throw Error("gemm: the residual must have the shape and the strides of c");
  }
  return m.data;
}

GemmShape shape_of(const Matrix& a, const Matrix& c, bool trans_a, float beta) {
  GemmShape s{c.rows, c.columns, trans_a ? a.rows : a.columns};
  s.trans_a = trans_a, s.beta = beta;
  s.lda = a.stride, s.ldc = c.stride;
  if ((trans_a ? a.columns : a.rows) != s.m) throw Error("gemm: the shapes of a and c do not fit");
  return s;
}

void set_b(GemmShape* s, const Matrix& b, bool trans_b) {
  s->trans_b = trans_b, s->ldb = b.stride;
  if ((trans_b ? b.rows : b.columns) != s->n || (trans_b ? b.columns : b.rows) != s->k) {
    throw Error("gemm: the shape of b does not fit those of a and c");
  }
}

class Packed {
 public:
  Packed(const py::array& b, bool trans_b, bool bf16)
      : dtype_(bf16 ? DType::kBFloat16 : DType::kFloat32) {
    pack(b, trans_b);
  }

  void pack(const py::array& array, bool trans_b) {
    const Matrix b = matrix_of(array, "b");
    n_ = trans_b ? b.rows : b.columns, k_ = trans_b ? b.columns : b.rows;
    GemmShape s{0, n_, k_};
    set_b(&s, b, trans_b);
    packed_ = kernels::gemm_kernels().pack_b(s, b.data, std::move(packed_), dtype_);
  }

  void gemm(const py::array& a, const py::array& c, bool trans_a, float beta,
            const std::optional<FloatArray>& bias, bool relu,
            const std::optional<py::array>& residual, float ceiling) const {
    const Matrix left = matrix_of(a, "a"), out = output(c, "c");
    const GemmShape s = shape_of(left, out, trans_a, beta);
    if (s.n != n_ || s.k != k_) throw Error("gemm: the packed b does not fit a and c");
    const kernels::Epilogue epilogue{bias_of(bias, s.n), relu, residual_of(residual, out), ceiling};
    py::gil_scoped_release release;
    kernels::gemm_kernels().gemm_packed(s, left.data, *packed_, epilogue, out.data);
  }

 private:
  const DType dtype_;
  int64_t n_ = 0, k_ = 0;
  kernels::PackedMatrixPtr packed_;
};

void gemm(const py::array& a, const py::array& b, const py::array& c, bool trans_a, bool trans_b,
          float beta, const std::optional<FloatArray>& bias, bool packed, bool relu,
          const std::optional<py::array>& residual, float ceiling) {
  if (packed) {
    const bool bf16 = matrix_of(a, "a").data.dtype == DType::kBFloat16;
    return Packed(b, trans_b, bf16).gemm(a, c, trans_a, beta, bias, relu, residual, ceiling);
  }
  const Matrix left = matrix_of(a, "a"), right = matrix_of(b, "b"), out = output(c, "c");
  GemmShape s = shape_of(left, out, trans_a, beta);
  set_b(&s, right, trans_b);
  const kernels::Epilogue epilogue{bias_of(bias, s.n), relu, residual_of(residual, out), ceiling};
  py::gil_scoped_release release;
  kernels::gemm_kernels().gemm(s, left.data, right.data, epilogue, out.data);
}

void gemv(const py::array& a, const py::array& x, py::array y, bool trans_a, float beta) {
  const Matrix left = matrix_of(a, "a");
  const GemmShape s = shape_of(left, {{}, y.size(), 1, 0}, trans_a, beta);
  if (x.size() != s.k) throw Error("gemv: the sizes of a and x do not fit");
  const ConstArray in = typed_memory<ConstArray>(x, s.k, "gemv: x");
  const Array out = typed_memory<Array>(y, s.m, "gemv: y");
  py::gil_scoped_release release;
  kernels::gemm_kernels().gemv(s, left.data, in, out);
}

}  // namespace

void bind_gemm_kernels(py::module_& m) {
  using py::arg;
  m.def("gemm", &gemm, arg("a").noconvert(), arg("b").noconvert(), arg("c").noconvert(),
        arg("trans_a") = false, arg("trans_b") = false, arg("beta") = 0.f, arg("bias") = py::none(),
        arg("packed") = false, arg("relu") = false, arg("residual").noconvert() = py::none(),
        arg("ceiling") = kUnbounded,
        "c = op(a) op(b) + beta c + bias + residual, at least 0 and at most `ceiling` with relu; "
        "`packed`: b is "
        "rearranged first.");
  m.def("gemv", &gemv, arg("a").noconvert(), arg("x").noconvert(), arg("y").noconvert(),
        arg("trans_a") = false, arg("beta") = 0.f, "y = op(a) x + beta y");
  py::class_<Packed>(m, "Packed", "A right operand rearranged for gemm, to be used many times.")
      .def(py::init<const py::array&, bool, bool>(), arg("b").noconvert(), arg("trans_b") = false,
           arg("bf16") = false)
      .def("pack", &Packed::pack, arg("b").noconvert(), arg("trans_b") = false,
           "Takes another matrix, in the same memory where it fits.")
      .def("gemm", &Packed::gemm, arg("a").noconvert(), arg("c").noconvert(),
           arg("trans_a") = false, arg("beta") = 0.f, arg("bias") = py::none(), arg("relu") = false,
           arg("residual").noconvert() = py::none(), arg("ceiling") = kUnbounded);
}

}  // namespace pydl
