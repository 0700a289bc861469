// The families that are plain tables of functions: each is a submodule of pydl._core.kernels, each
// kernel a function with the arguments of its header.

#include "bindings/kernel_table.h"
#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "kernels/im2col.h"
#include "kernels/lrn.h"
#include "kernels/lstm.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/softmax.h"
#include "kernels/typed.h"
#include "kernels/update.h"

namespace pydl {

namespace {

using namespace kernels;  // NOLINT: this file is a table of that namespace

// Sizes given as the first number, or as (outer, channels, inner).
const auto kAll = [](int64_t n, auto...) { return Extents{n}; };

void bind_eltwise(py::module_ m) {
  const auto def = [&m](const char* name, auto kernel, const auto& extents) {
    def_kernel(m, name, &eltwise_kernels, kernel, extents);
  };
  using K = EltwiseKernels;
  def("fill", &K::fill, kAll);
  def("scale", &K::scale, kAll);
  def("axpby", &K::axpby, kAll);
  def("add", &K::add, kAll);
  def("add_relu", &K::add_relu, kAll);
  def("mul", &K::mul, kAll);
  def("div", &K::div, kAll);
  def("max2", &K::max2, kAll);
  def("max_with", &K::max_with, kAll);
  def("select", &K::select, kAll);
  def("sum", &K::sum, kAll);
  def("asum", &K::asum, kAll);
  def("sumsq", &K::sumsq, kAll);
  def("dot", &K::dot, kAll);
  def("affine_forward", &K::affine_forward, [](int64_t outer, int64_t channels, int64_t inner) {
    const int64_t n = outer * channels * inner;
    return Extents{n, optional(channels), optional(channels), n};
  });
  def("affine_backward_params", &K::affine_backward_params,
      [](int64_t outer, int64_t channels, int64_t inner) {
        const int64_t n = outer * channels * inner;
        return Extents{optional(n), n, optional(channels), optional(channels)};
      });
  def("copy_rows", &K::copy_rows,
      [](int64_t rows, int64_t row, int64_t x_stride, int64_t y_stride) {
        const auto span = [&](int64_t stride) { return rows > 0 ? (rows - 1) * stride + row : 0; };
        return Extents{span(x_stride), span(y_stride)};
      });
  const auto plane = [](int64_t n, int64_t c, int64_t s) { return Extents{n * c * s}; };
  def("to_channels_last", &K::to_channels_last, plane);
  def("to_plain", &K::to_plain, plane);
  def("convert", &K::convert, kAll);
}

void bind_activation(py::module_ m) {
  const auto def = [&m](const char* name, auto kernel, const auto& extents) {
    def_kernel(m, name, &activation_kernels, kernel, extents);
  };
  using K = ActivationKernels;
  def("relu_forward", &K::relu_forward, kAll);
  def("relu_backward", &K::relu_backward, kAll);
  def("sigmoid_forward", &K::sigmoid_forward, kAll);
  def("sigmoid_backward", &K::sigmoid_backward, kAll);
  def("tanh_forward", &K::tanh_forward, kAll);
  def("tanh_backward", &K::tanh_backward, kAll);
  def("elu_forward", &K::elu_forward, kAll);
  def("elu_backward", &K::elu_backward, kAll);
  def("prelu_forward", &K::prelu_forward, [](int64_t outer, int64_t channels, int64_t inner) {
    const int64_t n = outer * channels * inner;
    return Extents{n, channels, n};
  });
  def("prelu_backward", &K::prelu_backward, [](int64_t outer, int64_t channels, int64_t inner) {
    const int64_t n = outer * channels * inner;
    return Extents{n, channels, n, optional(n), optional(channels)};
  });
  def("dropout", &K::dropout, kAll);
}

void bind_pool(py::module_ m) {
  using S = PoolShape;
  using Axis = std::array<int64_t, 5>;
  const auto axis = [](const Axis& a) { return PoolAxis{a[0], a[1], a[2], a[3], a[4]}; };
  // Of each axis (in, out, kernel, stride, pad).
  py::class_<S>(m, "PoolShape")
      .def(py::init([=](int64_t n, int64_t c, const Axis& d, const Axis& h, const Axis& w,
                        bool channels_last) {
             return S{n, c, axis(d), axis(h), axis(w), channels_last};
           }),
           py::arg("n"), py::arg("c"), py::arg("d"), py::arg("h"), py::arg("w"),
           py::arg("channels_last"))
      .def_property_readonly("mask_is_small", &pool_mask_is_small);
  const auto in = [](const S& s) { return s.n * s.c * s.in_count(); };
  const auto out = [](const S& s) { return s.n * s.c * s.out_count(); };
  const auto mask = [=](const S& s) { return (pool_mask_is_small(s) ? 1 : 4) * out(s); };
  using K = PoolKernels;
  def_kernel(m, "max_forward", &pool_kernels, &K::max_forward,
             [=](const S& s) { return Extents{in(s), out(s), optional(mask(s))}; });
  def_kernel(m, "max_backward", &pool_kernels, &K::max_backward,
             [=](const S& s) { return Extents{out(s), mask(s), in(s)}; });
  def_kernel(m, "ave_forward", &pool_kernels, &K::ave_forward,
             [=](const S& s) { return Extents{in(s), out(s)}; });
  def_kernel(m, "ave_backward", &pool_kernels, &K::ave_backward,
             [=](const S& s) { return Extents{out(s), in(s)}; });
  def_kernel(m, "sample_forward", &pool_kernels, &K::sample_forward,
             [=](const S& s) { return Extents{in(s), out(s), out(s), mask(s)}; });
  def_kernel(m, "expect_forward", &pool_kernels, &K::expect_forward,
             [=](const S& s) { return Extents{in(s), out(s)}; });
  def_kernel(m, "expect_backward", &pool_kernels, &K::expect_backward,
             [=](const S& s) { return Extents{in(s), out(s), out(s), in(s)}; });
}

void bind_im2col(py::module_ m) {
  using S = Im2colShape;
  using Axis = std::array<int64_t, 6>;
  // Of each axis (in, out, kernel, stride, pad, dilation).
  py::class_<S>(m, "Im2colShape")
      .def(py::init([](int64_t planes, const std::vector<Axis>& axes) {
             S s{planes, {}};
             for (const Axis& a : axes) s.axis.push_back({a[0], a[1], a[2], a[3], a[4], a[5]});
             return s;
           }),
           py::arg("planes"), py::arg("axes"));
  const auto image = [](const S& s) {
    int64_t n = s.planes;
    for (const Im2colAxis& a : s.axis) n *= a.in;
    return n;
  };
  const auto columns = [](const S& s) {
    int64_t n = s.planes;
    for (const Im2colAxis& a : s.axis) n *= a.kernel * a.out;
    return n;
  };
  using K = Im2colKernels;
  def_kernel(m, "im2col", &im2col_kernels, &K::im2col,
             [=](const S& s) { return Extents{image(s), columns(s)}; });
  def_kernel(m, "col2im", &im2col_kernels, &K::col2im,
             [=](const S& s) { return Extents{columns(s), image(s)}; });
}

void bind_lrn(py::module_ m) {
  using S = LrnShape;
  def_shape(m, "LrnShape", field("outer", &S::outer), field("channels", &S::channels),
            field("inner", &S::inner), field("h", &S::h), field("w", &S::w),
            field("channels_last", &S::channels_last), field("size", &S::size),
            field("alpha", &S::alpha), field("beta", &S::beta), field("k", &S::k));
  const auto across = [](const S& s) { return Extents{s.outer * s.channels * s.inner}; };
  const auto within = [](const S& s) { return Extents{s.outer * s.channels * s.h * s.w}; };
  using K = LrnKernels;
  def_kernel(m, "across_forward", &lrn_kernels, &K::across_forward, across);
  def_kernel(m, "across_backward", &lrn_kernels, &K::across_backward, across);
  def_kernel(m, "within_forward", &lrn_kernels, &K::within_forward, within);
  def_kernel(m, "within_backward", &lrn_kernels, &K::within_backward, within);
}

void bind_embed(py::module_ m) {
  using K = EmbedKernels;
  def_kernel(m, "gather", &embed_kernels, &K::gather, [](int64_t n, int64_t rows, int64_t size) {
    return Extents{n, rows * size, optional(size), n * size};
  });
  def_kernel(
      m, "scatter_add", &embed_kernels, &K::scatter_add,
      [](int64_t n, int64_t rows, int64_t size) { return Extents{n, n * size, rows * size}; });
}

// With the weights as they are, which are packed for each call.
struct LstmOfPlainWeights {
  void (*forward)(const LstmShape&, const float* w, const float* cont, const float* h0,
                  const float* c0, float* gates, Array past, float* c, Array h);
  void (*backward)(const LstmShape&, const float* w, const float* cont, const float* c0,
                   const float* gates, const float* c, ConstArray dh, Array dgates, float* sum);
};

const LstmOfPlainWeights& lstm_of_plain_weights() {
  static const auto packed = [](auto pack, const LstmShape& s, const float* w, DType dtype) {
    std::vector<float> out(lstm_kernels().packed_size(s, dtype));
    (lstm_kernels().*pack)(s, w, dtype, out.data());
    return out;
  };
  static constexpr LstmOfPlainWeights kKernels = {
      [](const LstmShape& s, const float* w, auto... arrays) {
        const DType dtype = CommonType(arrays...).get();
        const auto weights = packed(&LstmKernels::pack_forward, s, w, dtype);
        lstm_kernels().forward(s, weights.data(), arrays...);
      },
      [](const LstmShape& s, const float* w, auto... arrays) {
        const DType dtype = CommonType(arrays...).get();
        const auto weights = packed(&LstmKernels::pack_backward, s, w, dtype);
        lstm_kernels().backward(s, weights.data(), arrays...);
      }};
  return kKernels;
}

void bind_lstm(py::module_ m) {
  using S = LstmShape;
  def_shape(m, "LstmShape", field("steps", &S::steps), field("batch", &S::batch),
            field("hidden", &S::hidden), field("gate_stride", &S::gate_stride));
  using K = LstmOfPlainWeights;
  const auto weights = [](const S& s) { return 4 * s.hidden * s.hidden; };
  const auto gates = [](const S& s) { return s.steps * s.batch * s.gate_stride; };
  def_kernel(m, "forward", &lstm_of_plain_weights, &K::forward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, n, n, gates(s), all, all, all};
  });
  def_kernel(m, "backward", &lstm_of_plain_weights, &K::backward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, n, gates(s), all, all, gates(s), 4 * n};
  });
}

void bind_softmax(py::module_ m) {
  using S = SoftmaxShape;
  def_shape(m, "SoftmaxShape", field("outer", &S::outer), field("classes", &S::classes),
            field("inner", &S::inner));
  const auto all = [](const S& s) { return Extents{s.outer * s.classes * s.inner}; };
  using K = SoftmaxKernels;
  def_kernel(m, "forward", &softmax_kernels, &K::forward, all);
  def_kernel(m, "backward", &softmax_kernels, &K::backward, all);
  def_kernel(m, "loss", &softmax_kernels, &K::loss, [](const S& s, bool, int) {
    return Extents{s.outer * s.classes * s.inner, s.outer * s.inner, 1};
  });
  def_kernel(m, "loss_backward", &softmax_kernels, &K::loss_backward,
             [](const S& s, bool, int, float) {
               const int64_t n = s.outer * s.classes * s.inner;
               return Extents{n, s.outer * s.inner, n};
             });
}

void bind_norm(py::module_ m) {
  using S = NormShape;
  def_shape(m, "NormShape", field("outer", &S::outer), field("channels", &S::channels),
            field("inner", &S::inner));
  const auto count = [](const S& s) { return s.outer * s.channels * s.inner; };
  using K = NormKernels;
  def_kernel(m, "statistics", &norm_kernels, &K::statistics,
             [=](const S& s) { return Extents{count(s), s.channels, s.channels}; });
  def_kernel(m, "normalize", &norm_kernels, &K::normalize,
             [=](const S& s) { return Extents{count(s), s.channels, s.channels, count(s)}; });
  def_kernel(m, "backward", &norm_kernels, &K::backward,
             [=](const S& s) { return Extents{count(s), s.channels, count(s), count(s)}; });
  def_kernel(m, "forward_fused", &norm_kernels, &K::forward_fused, [=](const S& s, bool) {
    const int64_t n = count(s), c = s.channels;
    return Extents{n, c, c, c, c, optional(n), n};
  });
  def_kernel(m, "backward_fused", &norm_kernels, &K::backward_fused, [=](const S& s, bool) {
    const int64_t n = count(s), c = s.channels;
    return Extents{n, c, c, c, c, optional(n), n, c, c, n, optional(n)};
  });
}

void bind_update(py::module_ m) {
  using S = UpdateShape;
  def_shape(m, "UpdateShape", field("n", &S::n), field("grad_scale", &S::grad_scale),
            field("weight_decay", &S::weight_decay), field("l1", &S::l1), field("rate", &S::rate),
            field("momentum", &S::momentum));
  def_kernel(m, "sgd", &update_kernels, &UpdateKernels::sgd,
             [](const S& s) { return Extents{s.n}; });
}

}  // namespace

void bind_kernel_families(py::module_& m) {
  bind_eltwise(m.def_submodule("eltwise"));
  bind_activation(m.def_submodule("activation"));
  bind_pool(m.def_submodule("pool"));
  bind_im2col(m.def_submodule("im2col"));
  bind_lrn(m.def_submodule("lrn"));
  bind_embed(m.def_submodule("embed"));
  bind_lstm(m.def_submodule("lstm"));
  bind_softmax(m.def_submodule("softmax"));
  bind_norm(m.def_submodule("norm"));
  bind_update(m.def_submodule("update"));
}

}  // namespace pydl
