// Convolution by the name of its implementation.

#include "bindings/kernel_table.h"
#include "core/check.h"
#include "kernels/conv_autotune.h"

namespace pydl {

namespace {

using kernels::ConvShape;

// One problem and how it is solved, on arrays in the layouts of kernels/conv.h.
class Convolution {
 public:
  Convolution(const ConvShape& shape, const std::string& name, bool autotune)
      : shape_(shape),
        conv_(name.empty() ? kernels::make_conv(shape, autotune)
                           : kernels::make_conv(shape, name)) {}

  const char* name() const { return conv_->name(); }
  void weights_changed() { conv_->weights_changed(); }

  void forward(const py::object& x, const py::object& w, const py::object& bias,
               const py::object& y, bool relu, const py::object& residual, float ceiling) {
    const auto in = typed_memory<ConstArray>(x, x_count(), "x");
    const float* weights = array_memory<const float>(w, w_count(), "w");
    const float* add = array_memory<const float>(bias, optional(shape_.oc), "bias");
    const auto out = typed_memory<Array>(y, y_count(), "y");
    const auto more = typed_memory<ConstArray>(residual, optional(y_count()), "residual");
    py::gil_scoped_release release;
    conv_->forward(in, weights, {add, relu, more, ceiling}, out);
  }

  void backward_data(const py::object& dy, const py::object& w, const py::object& bias,
                     const py::object& dx, bool relu, const py::object& residual, float ceiling) {
    const auto gradient = typed_memory<ConstArray>(dy, y_count(), "dy");
    const float* weights = array_memory<const float>(w, w_count(), "w");
    const float* add = array_memory<const float>(bias, optional(shape_.ic), "bias");
    const auto out = typed_memory<Array>(dx, x_count(), "dx");
    const auto more = typed_memory<ConstArray>(residual, optional(x_count()), "residual");
    py::gil_scoped_release release;
    conv_->backward_data(gradient, weights, {add, relu, more, ceiling}, out);
  }

  void backward_weights(const py::object& x, const py::object& dy, const py::object& dw,
                        const py::object& dbias) {
    const auto in = typed_memory<ConstArray>(x, x_count(), "x");
    const auto gradient = typed_memory<ConstArray>(dy, y_count(), "dy");
    float* weights = array_memory<float>(dw, w_count(), "dw");
    float* bias = array_memory<float>(dbias, optional(shape_.oc), "dbias");
    py::gil_scoped_release release;
    conv_->backward_weights(in, gradient, weights, bias);
  }

 private:
  int64_t x_count() const { return shape_.n * shape_.in_count() * shape_.ic; }
  int64_t y_count() const { return shape_.n * shape_.out_count() * shape_.oc; }
  int64_t w_count() const { return shape_.oc * (shape_.ic / shape_.group) * shape_.kernel_count(); }

  ConvShape shape_;
  std::unique_ptr<kernels::Conv> conv_;
};

using Dims = std::vector<int64_t>;

kernels::Arithmetic arithmetic_from_name(const std::string& name) {
  const std::vector<std::string> names = {"fast", "strict", "direct"};
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<kernels::Arithmetic>(i);
  }
  fail("convolution: unknown arithmetic \"", name, "\"", did_you_mean(name, names),
       "; there are fast, strict and direct");
}

ConvShape make_shape(int64_t n, int64_t ic, int64_t oc, int64_t group, const Dims& in,
                     const Dims& kernel, const Dims& stride, const Dims& pad, const Dims& dilation,
                     const std::string& arithmetic, bool bf16, bool learns) {
  return {n,
          ic,
          oc,
          group,
          in,
          kernel,
          stride,
          pad,
          dilation,
          arithmetic_from_name(arithmetic),
          bf16 ? DType::kBFloat16 : DType::kFloat32,
          learns};
}

std::vector<std::string> implementations(const ConvShape& shape) {
  std::vector<std::string> names;
  for (const auto* one : kernels::conv_list()) {
    if (one->accepts(shape)) names.push_back(one->name);
  }
  return names;
}

}  // namespace

void bind_conv_kernels(py::module_& m) {
  using py::arg;
  py::class_<ConvShape>(m, "ConvShape")
      .def(py::init(&make_shape), arg("n"), arg("ic"), arg("oc"), arg("group"), arg("in_"),
           arg("kernel"), arg("stride"), arg("pad"), arg("dilation"), arg("arithmetic") = "fast",
           arg("bf16") = false, arg("learns") = false)
      .def_readonly("n", &ConvShape::n)
      .def_readonly("ic", &ConvShape::ic)
      .def_readonly("oc", &ConvShape::oc)
      .def_readonly("group", &ConvShape::group)
      .def_readonly("in_", &ConvShape::in)
      .def_readonly("kernel", &ConvShape::kernel)
      .def_property_readonly("out", &ConvShape::out)
      .def_property_readonly("flops", &ConvShape::flops)
      .def("__str__", &ConvShape::text);
  m.def("conv_implementations", &implementations,
        "Names of those that take this shape, in their order, for the instruction set in use.");
  m.def("timed_convs", &kernels::timed_convs, "How many choices autotune has made by measuring.");
  py::class_<Convolution>(m, "Conv")
      .def(py::init<const ConvShape&, const std::string&, bool>(), arg("shape"), arg("name") = "",
           arg("autotune") = false)
      .def_property_readonly("name", &Convolution::name)
      .def("weights_changed", &Convolution::weights_changed)
      .def("forward", &Convolution::forward, py::arg("x"), py::arg("w"), py::arg("bias"),
           py::arg("y"), py::arg("relu") = false, py::arg("residual") = py::none(),
           py::arg("ceiling") = kUnbounded)
      .def("backward_data", &Convolution::backward_data, py::arg("dy"), py::arg("w"),
           py::arg("bias"), py::arg("dx"), py::arg("relu") = false,
           py::arg("residual") = py::none(), py::arg("ceiling") = kUnbounded)
      .def("backward_weights", &Convolution::backward_weights);
}

}  // namespace pydl
