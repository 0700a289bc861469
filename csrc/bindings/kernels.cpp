// pydl._core.kernels: the kernels on numpy arrays, for tests and benchmarks of single operations.

#include "bindings/bindings.h"
#include "kernels/activation.h"
#include "kernels/conv.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"

namespace pydl {

namespace {

using kernels::ConvShape;

void gemm(const FloatArray& a, const FloatArray& b, py::array_t<float, py::array::c_style> c,
          bool trans_a, bool trans_b, float beta, std::optional<FloatArray> bias, bool packed) {
  kernels::GemmShape shape;
  shape.m = c.shape(0), shape.n = c.shape(1), shape.k = a.shape(trans_a ? 0 : 1);
  shape.trans_a = trans_a, shape.trans_b = trans_b, shape.beta = beta;
  if (a.shape(trans_a ? 1 : 0) != shape.m || b.shape(trans_b ? 0 : 1) != shape.n ||
      b.shape(trans_b ? 1 : 0) != shape.k || (bias && bias->size() != shape.n)) {
    throw Error("gemm: the shapes of a, b, c and bias do not fit");
  }
  const float* add = bias ? bias->data() : nullptr;
  float* out = c.mutable_data();
  py::gil_scoped_release release;
  const auto& kernel = kernels::gemm_kernels();
  if (packed) {
    const auto matrix = kernel.pack_b(shape, b.data(), nullptr);
    kernel.gemm_packed(shape, a.data(), *matrix, add, out);
  } else {
    kernel.gemm(shape, a.data(), b.data(), add, out);
  }
}

}  // namespace

void bind_kernels(py::module_& parent) {
  py::module_ m = parent.def_submodule("kernels", "Kernels on numpy arrays.");
  m.def("isa", [] { return kernels::isa_name(kernels::isa()); });
  m.def("set_isa", [](const std::string& name) { kernels::set_isa(kernels::isa_from_name(name)); });
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (kernels::Isa isa : kernels::available_isas()) names.push_back(kernels::isa_name(isa));
    return names;
  });
  m.def("gemm", &gemm, py::arg("a"), py::arg("b"), py::arg("c").noconvert(),
        py::arg("trans_a") = false, py::arg("trans_b") = false, py::arg("beta") = 0.f,
        py::arg("bias") = py::none(), py::arg("packed") = false);

  py::class_<ConvShape>(m, "ConvShape")
      .def(py::init([](int64_t n, int64_t ic, int64_t oc, int64_t group, std::vector<int64_t> in,
                       std::vector<int64_t> kernel, std::vector<int64_t> stride,
                       std::vector<int64_t> pad, std::vector<int64_t> dilation) {
             return ConvShape{n, ic, oc, group, in, kernel, stride, pad, dilation};
           }),
           py::arg("n"), py::arg("ic"), py::arg("oc"), py::arg("group"), py::arg("in_"),
           py::arg("kernel"), py::arg("stride"), py::arg("pad"), py::arg("dilation"))
      .def_property_readonly("out", &ConvShape::out)
      .def_property_readonly("flops", &ConvShape::flops)
      .def("__str__", &ConvShape::text);
  m.def("conv_implementations", [](const ConvShape& shape) {
    std::vector<std::string> names;
    for (const auto& one : kernels::conv_list()) {
      if (one.accepts(shape)) names.push_back(one.name);
    }
    return names;
  });
  py::class_<kernels::Conv>(m, "Conv")
      .def(py::init([](const ConvShape& shape, const std::string& name) {
             return name.empty() ? kernels::make_conv(shape) : kernels::make_conv(shape, name);
           }),
           py::arg("shape"), py::arg("name") = "")
      .def_property_readonly("name", &kernels::Conv::name)
      .def("weights_changed", &kernels::Conv::weights_changed)
      .def("forward",
           [](kernels::Conv& c, const FloatArray& x, const FloatArray& w,
              std::optional<FloatArray> bias, py::array_t<float, py::array::c_style> y) {
             c.forward(x.data(), w.data(), bias ? bias->data() : nullptr, y.mutable_data());
           })
      .def("backward_data",
           [](kernels::Conv& c, const FloatArray& dy, const FloatArray& w,
              py::array_t<float, py::array::c_style> dx,
              bool add) { c.backward_data(dy.data(), w.data(), dx.mutable_data(), add); })
      .def("backward_weights", [](kernels::Conv& c, const FloatArray& x, const FloatArray& dy,
                                  py::array_t<float, py::array::c_style> dw,
                                  std::optional<py::array_t<float, py::array::c_style>> dbias) {
        c.backward_weights(x.data(), dy.data(), dw.mutable_data(),
                           dbias ? dbias->mutable_data() : nullptr);
      });
}

}  // namespace pydl
