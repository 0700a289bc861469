// The families that are plain tables of functions: each is a submodule of pydl._core.kernels, each
// kernel a function with the arguments of its header.

#include "bindings/kernel_table.h"
#include "kernels/activation.h"
#include "kernels/arg_max.h"
#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "kernels/im2col.h"
#include "kernels/image.h"
#include "kernels/loss.h"
#include "kernels/lrn.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/recurrent.h"
#include "kernels/reduce.h"
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
  def("abs_forward", &K::abs_forward, kAll);
  def("abs_backward", &K::abs_backward, kAll);
  def("bnll_forward", &K::bnll_forward, kAll);
  def("bnll_backward", &K::bnll_backward, kAll);
  def("clip_forward", &K::clip_forward, kAll);
  def("clip_backward", &K::clip_backward, kAll);
  def("exp_forward", &K::exp_forward, kAll);
  def("exp_backward", &K::exp_backward, kAll);
  def("log_forward", &K::log_forward, kAll);
  def("log_backward", &K::log_backward, kAll);
  def("power_forward", &K::power_forward, kAll);
  def("power_backward", &K::power_backward, kAll);
  def("swish_forward", &K::swish_forward, kAll);
  def("swish_backward", &K::swish_backward, kAll);
  def("threshold", &K::threshold, kAll);
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

void bind_arg_max(py::module_ m) {
  using S = ArgMaxShape;
  def_shape(m, "ArgMaxShape", field("outer", &S::outer), field("n", &S::n),
            field("inner", &S::inner), field("k", &S::k), field("stride", &S::stride));
  def_kernel(m, "largest", &arg_max_kernels, &ArgMaxKernels::largest, [](const S& s) {
    const int64_t found = s.outer > 0 ? (s.outer - 1) * s.stride + s.k * s.inner : 0;
    return Extents{s.outer * s.n * s.inner, optional(found), optional(found)};
  });
}

void bind_image(py::module_ m) {
  using S = ImageCut;
  def_shape(m, "ImageCut", field("channels", &S::channels), field("height", &S::height),
            field("width", &S::width), field("top", &S::top), field("left", &S::left),
            field("rows", &S::rows), field("columns", &S::columns), field("flip", &S::flip));
  const auto extents = [](const S& s, float) {
    const int64_t in = s.channels * s.height * s.width;
    return Extents{in, optional(in), optional(s.channels), s.channels * s.rows * s.columns};
  };
  def_kernel(m, "bytes", &image_kernels, &ImageKernels::bytes, extents);
  def_kernel(m, "floats", &image_kernels, &ImageKernels::floats, extents);
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
struct RecurrentOfPlainWeights {
  void (*rnn_forward)(const RecurrentShape&, const float* w, const float* cont, const float* h0,
                      float* gates, Array past, Array h);
  void (*lstm_forward)(const RecurrentShape&, const float* w, const float* cont, const float* h0,
                       const float* c0, float* gates, Array past, float* c, Array h);
  void (*rnn_backward)(const RecurrentShape&, const float* w, const float* cont, const float* gates,
                       ConstArray dh, Array dgates, float* sum);
  void (*lstm_backward)(const RecurrentShape&, const float* w, const float* cont, const float* c0,
                        const float* gates, const float* c, ConstArray dh, Array dgates,
                        float* sum);
};

template <auto kPack, auto kKernel>
constexpr auto kWithPlainWeights = [](const RecurrentShape& s, const float* w, auto... arrays) {
  const auto& kernels = recurrent_kernels();
  const DType dtype = CommonType(arrays...).get();
  std::vector<float> packed(kernels.packed_size(s, dtype));
  (kernels.*kPack)(s, w, dtype, packed.data());
  (kernels.*kKernel)(s, packed.data(), arrays...);
};

const RecurrentOfPlainWeights& recurrent_of_plain_weights() {
  using K = RecurrentKernels;
  static constexpr RecurrentOfPlainWeights kKernels = {
      kWithPlainWeights<&K::pack_forward, &K::rnn_forward>,
      kWithPlainWeights<&K::pack_forward, &K::lstm_forward>,
      kWithPlainWeights<&K::pack_backward, &K::rnn_backward>,
      kWithPlainWeights<&K::pack_backward, &K::lstm_backward>};
  return kKernels;
}

void bind_recurrent(py::module_ m) {
  using S = RecurrentShape;
  def_shape(m, "RecurrentShape", field("steps", &S::steps), field("batch", &S::batch),
            field("hidden", &S::hidden), field("gates", &S::gates),
            field("gate_stride", &S::gate_stride));
  using K = RecurrentOfPlainWeights;
  const auto weights = [](const S& s) { return s.gates * s.hidden * s.hidden; };
  const auto gates = [](const S& s) { return s.steps * s.batch * s.gate_stride; };
  const auto sum = [](const S& s) { return s.batch * s.gates * s.hidden; };
  def_kernel(m, "rnn_forward", &recurrent_of_plain_weights, &K::rnn_forward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, n, gates(s), all, all};
  });
  def_kernel(m, "lstm_forward", &recurrent_of_plain_weights, &K::lstm_forward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, n, n, gates(s), all, all, all};
  });
  def_kernel(m, "rnn_backward", &recurrent_of_plain_weights, &K::rnn_backward, [=](const S& s) {
    const int64_t all = s.steps * s.batch * s.hidden;
    return Extents{weights(s), s.steps * s.batch, gates(s), all, gates(s), sum(s)};
  });
  def_kernel(m, "lstm_backward", &recurrent_of_plain_weights, &K::lstm_backward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, n, gates(s), all, all, gates(s), sum(s)};
  });
  def_kernel(m, "lstm_unit_forward", &recurrent_kernels, &RecurrentKernels::lstm_unit_forward,
             [](int64_t batch, int64_t hidden) {
               const int64_t n = batch * hidden;
               return Extents{batch, n, 4 * n, n, n};
             });
  def_kernel(m, "lstm_unit_backward", &recurrent_kernels, &RecurrentKernels::lstm_unit_backward,
             [](int64_t batch, int64_t hidden) {
               const int64_t n = batch * hidden;
               return Extents{batch, n, 4 * n, n, n, optional(n), optional(4 * n)};
             });
}

void bind_reduce(py::module_ m) {
  using K = ReduceKernels;
  const auto rows = [](int64_t r, int64_t n, float) { return Extents{r * n, r}; };
  def_kernel(m, "sum", &reduce_kernels, &K::sum, rows);
  def_kernel(m, "asum", &reduce_kernels, &K::asum, rows);
  def_kernel(m, "sumsq", &reduce_kernels, &K::sumsq, rows);
  const auto back = [](int64_t r, int64_t n) { return Extents{r, r * n, r * n}; };
  def_kernel(m, "sum_backward", &reduce_kernels, &K::sum_backward, back);
  def_kernel(m, "asum_backward", &reduce_kernels, &K::asum_backward, back);
  def_kernel(m, "sumsq_backward", &reduce_kernels, &K::sumsq_backward, back);
  def_kernel(m, "sum_middle", &reduce_kernels, &K::sum_middle,
             [](int64_t outer, int64_t n, int64_t inner) {
               return Extents{outer * n * inner, outer * inner};
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
  def_kernel(m, "loss", &softmax_kernels, &K::loss, [](const S& s, bool, int, float) {
    return Extents{s.outer * s.classes * s.inner, s.outer * s.inner, 1};
  });
  def_kernel(m, "loss_backward", &softmax_kernels, &K::loss_backward,
             [](const S& s, bool, int, float) {
               const int64_t n = s.outer * s.classes * s.inner;
               return Extents{n, s.outer * s.inner, n};
             });
  def_kernel(m, "infogain", &softmax_kernels, &K::infogain, [](const S& s, bool, int, float) {
    const int64_t n = s.outer * s.classes * s.inner;
    return Extents{n, s.outer * s.inner, s.classes * s.classes, 1};
  });
  def_kernel(m, "infogain_backward", &softmax_kernels, &K::infogain_backward,
             [](const S& s, bool, int, float) {
               const int64_t n = s.outer * s.classes * s.inner;
               return Extents{n, s.outer * s.inner, s.classes * s.classes, s.classes, n};
             });
}

void bind_loss(py::module_ m) {
  using K = LossKernels;
  const auto rows = [](int64_t rows, int64_t dim, auto...) {
    return Extents{rows * dim, rows, rows * dim};
  };
  def_kernel(m, "squared_distances", &loss_kernels, &K::squared_distances,
             [](int64_t rows, int64_t dim) { return Extents{rows * dim, rows * dim, rows}; });
  def_kernel(m, "scaled_differences", &loss_kernels, &K::scaled_differences,
             [](int64_t rows, int64_t dim) {
               const int64_t n = rows * dim;
               return Extents{rows, n, n, n};
             });
  def_kernel(m, "hinge", &loss_kernels, &K::hinge, rows);
  def_kernel(m, "hinge_backward", &loss_kernels, &K::hinge_backward, rows);
  def_kernel(m, "sigmoid", &loss_kernels, &K::sigmoid,
             [](int64_t n, bool, int) { return Extents{n, n, 1}; });
  def_kernel(m, "sigmoid_backward", &loss_kernels, &K::sigmoid_backward, kAll);
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
  def_kernel(
      m, "normalize_rows", &norm_kernels, &K::normalize_rows,
      [](int64_t rows, int64_t n, bool, float) { return Extents{rows * n, rows, rows * n}; });
  def_kernel(m, "rows_backward", &norm_kernels, &K::rows_backward,
             [](int64_t rows, int64_t n, bool) {
               return Extents{optional(rows * n), rows, rows * n, rows * n};
             });
}

void bind_update(py::module_ m) {
  using S = UpdateShape;
  using K = UpdateKernels;
  def_shape(m, "UpdateShape", field("n", &S::n), field("grad_scale", &S::grad_scale),
            field("weight_decay", &S::weight_decay), field("l1", &S::l1), field("rate", &S::rate),
            field("momentum", &S::momentum), field("momentum2", &S::momentum2),
            field("delta", &S::delta), field("decoupled_decay", &S::decoupled_decay));
  const auto def = [&m](const char* name, auto kernel) {
    def_kernel(m, name, &update_kernels, kernel, [](const S& s) { return Extents{s.n}; });
  };
  def("sgd", &K::sgd);
  def("nesterov", &K::nesterov);
  def("adagrad", &K::adagrad);
  def("rmsprop", &K::rmsprop);
  def("adadelta", &K::adadelta);
  def("adam", &K::adam);
  def_kernel(m, "average", &update_kernels, &K::average,
             [](int64_t n, float) { return Extents{n}; });
}

}  // namespace

void bind_kernel_families(py::module_& m) {
  bind_eltwise(m.def_submodule("eltwise"));
  bind_activation(m.def_submodule("activation"));
  bind_arg_max(m.def_submodule("arg_max"));
  bind_image(m.def_submodule("image"));
  bind_pool(m.def_submodule("pool"));
  bind_im2col(m.def_submodule("im2col"));
  bind_lrn(m.def_submodule("lrn"));
  bind_embed(m.def_submodule("embed"));
  bind_recurrent(m.def_submodule("recurrent"));
  bind_reduce(m.def_submodule("reduce"));
  bind_softmax(m.def_submodule("softmax"));
  bind_loss(m.def_submodule("loss"));
  bind_norm(m.def_submodule("norm"));
  bind_update(m.def_submodule("update"));
}

}  // namespace pydl
