// The families that are plain tables of functions: each is a submodule of pydl._core.kernels, each
// kernel a function with the arguments of its header.

#include "bindings/kernel_table.h"
#include "kernels/activation.h"
#include "kernels/arg_max.h"
#include "kernels/boxes.h"
#include "kernels/cost_volume.h"
#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "kernels/im2col.h"
#include "kernels/image.h"
#include "kernels/interp.h"
#include "kernels/l2_norm.h"
#include "kernels/loss.h"
#include "kernels/lrn.h"
#include "kernels/movement.h"
#include "kernels/negative_sampling.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/recurrent.h"
#include "kernels/reduce.h"
#include "kernels/roi.h"
#include "kernels/softmax.h"
#include "kernels/stochastic.h"
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
  def("multiply_add", &K::multiply_add, [](int64_t outer, int64_t channels, int64_t inner) {
    const int64_t n = outer * channels * inner;
    return Extents{n, channels, n, n};
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
  def("relu6_forward", &K::relu6_forward, kAll);
  def("relu6_backward", &K::relu6_backward, kAll);
  def("hard_swish_forward", &K::hard_swish_forward, kAll);
  def("hard_swish_backward", &K::hard_swish_backward, kAll);
  def("mish_forward", &K::mish_forward, kAll);
  def("mish_backward", &K::mish_backward, kAll);
  def("gelu_forward", &K::gelu_forward, kAll);
  def("gelu_backward", &K::gelu_backward, kAll);
  def("softplus_forward", &K::softplus_forward, kAll);
  def("softplus_backward", &K::softplus_backward, kAll);
  def("selu_forward", &K::selu_forward, kAll);
  def("selu_backward", &K::selu_backward, kAll);
  def("threshold", &K::threshold, kAll);
  def("prelu_forward", &K::prelu_forward, [](int64_t outer, int64_t channels, int64_t inner) {
    const int64_t n = outer * channels * inner;
    return Extents{n, channels, n};
  });
  def("prelu_backward", &K::prelu_backward, [](int64_t outer, int64_t channels, int64_t inner) {
    const int64_t n = outer * channels * inner;
    return Extents{n, channels, n, optional(n), optional(channels)};
  });
  def("glu_forward", &K::glu_forward,
      [](int64_t rows, int64_t n) { return Extents{2 * rows * n, rows * n}; });
  def("glu_backward", &K::glu_backward,
      [](int64_t rows, int64_t n) { return Extents{2 * rows * n, rows * n, 2 * rows * n}; });
  def("maxout_forward", &K::maxout_forward,
      [](int64_t rows, int64_t pieces, int64_t n) { return Extents{rows * pieces * n, rows * n}; });
  def("maxout_backward", &K::maxout_backward, [](int64_t rows, int64_t pieces, int64_t n) {
    return Extents{rows * pieces * n, rows * n, rows * pieces * n};
  });
  def("dropout", &K::dropout, kAll);
  using M = MaskShape;
  def_shape(m, "MaskShape", field("sizes", &M::sizes), field("strides", &M::strides));
  def_kernel(m, "masked", &activation_kernels, &K::masked, [](const M& s) {
    int64_t count = 1, last = 0;
    for (size_t i = 0; i < s.sizes.size(); ++i) {
      count *= s.sizes[i];
      last += (s.sizes[i] - 1) * s.strides[i];
    }
    return Extents{count, last + 1, count};
  });
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

void bind_boxes(py::module_ m) {
  py::enum_<BoxCode>(m, "BoxCode")
      .value("CORNER", BoxCode::kCorner)
      .value("CENTER_SIZE", BoxCode::kCenterSize)
      .value("CORNER_SIZE", BoxCode::kCornerSize);
  using K = BoxKernels;
  def_kernel(m, "separate", &box_kernels, &K::separate, [](int64_t n, int64_t stride) {
    return Extents{n > 0 ? (n - 1) * stride + 4 : 0, 4 * n};
  });
  def_kernel(m, "decode", &box_kernels, &K::decode,
             [](int64_t n, BoxCode) { return Extents{4 * n, optional(4 * n), 4 * n, 4 * n}; });
  def_kernel(m, "raise_overlaps", &box_kernels, &K::raise_overlaps,
             [](int64_t n, int64_t plane, float) { return Extents{4, 3 * plane + n, n}; });
  def_kernel(m, "above", &box_kernels, &K::above, [](int64_t n, float) { return Extents{n}; });
}

void bind_cost_volume(py::module_ m) {
  using S = CostVolumeShape;
  using K = CostVolumeKernels;
  def_shape(m, "CostVolumeShape", field("n", &S::n), field("c", &S::c), field("h", &S::h),
            field("w", &S::w), field("out_h", &S::out_h), field("out_w", &S::out_w),
            field("kernel", &S::kernel), field("max_displacement", &S::max_displacement),
            field("pad", &S::pad), field("stride1", &S::stride1), field("stride2", &S::stride2),
            field("subtract", &S::subtract));
  const auto image = [](const S& s) { return s.n * s.h * s.w * s.c; };
  const auto volume = [](const S& s) { return s.n * s.out_h * s.out_w * s.displacements(); };
  def_kernel(m, "forward", &cost_volume_kernels, &K::forward,
             [=](const S& s) { return Extents{image(s), image(s), volume(s)}; });
  const auto back = [=](const S& s) { return Extents{image(s), image(s), volume(s), image(s)}; };
  def_kernel(m, "backward_a", &cost_volume_kernels, &K::backward_a, back);
  def_kernel(m, "backward_b", &cost_volume_kernels, &K::backward_b, back);
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
  py::enum_<ImageBorder>(m, "Border")
      .value("CONSTANT", ImageBorder::kConstant)
      .value("REPEAT", ImageBorder::kRepeat)
      .value("REFLECT", ImageBorder::kReflect);
  using W = ImageWarp;
  def_shape(m, "ImageWarp", field("channels", &W::channels), field("height", &W::height),
            field("width", &W::width), field("rows", &W::rows), field("columns", &W::columns),
            field("matrix", &W::matrix), field("border", &W::border),
            field("nearest", &W::nearest));
  const auto padded = [](const W& s) {
    return Extents{s.channels * s.height * s.width, s.channels, s.padded()};
  };
  def_kernel(m, "pad_bytes", &image_kernels, &ImageKernels::pad_bytes, padded);
  def_kernel(m, "pad_floats", &image_kernels, &ImageKernels::pad_floats, padded);
  def_kernel(m, "warp", &image_kernels, &ImageKernels::warp,
             [](const W& s) { return Extents{s.padded(), s.channels * s.rows * s.columns}; });
  def_kernel(m, "mix", &image_kernels, &ImageKernels::mix,
             [](int64_t channels, int64_t pixels, float, float) {
               return Extents{channels * (channels + 1), channels * pixels};
             });
  def_kernel(m, "blur", &image_kernels, &ImageKernels::blur,
             [](int64_t channels, int64_t rows, int64_t columns, int64_t radius) {
               return Extents{2 * radius + 1, blur_scratch(rows, columns, radius),
                              channels * rows * columns};
             });
}

void bind_pool(py::module_ m) {
  using S = PoolShape;
  using Axis = std::array<int64_t, 5>;
  const auto axis = [](const Axis& a, bool padding_counts) {
    return PoolAxis{a[0], a[1], a[2], a[3], a[4], padding_counts};
  };
  // Of each axis (in, out, kernel, stride, pad).
  py::class_<S>(m, "PoolShape")
      .def(py::init([=](int64_t n, int64_t c, const Axis& d, const Axis& h, const Axis& w,
                        bool channels_last, bool padding_counts) {
             return S{n,
                      c,
                      axis(d, padding_counts),
                      axis(h, padding_counts),
                      axis(w, padding_counts),
                      channels_last};
           }),
           py::arg("n"), py::arg("c"), py::arg("d"), py::arg("h"), py::arg("w"),
           py::arg("channels_last"), py::arg("padding_counts") = true)
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
  void (*gru_forward)(const RecurrentShape&, const float* w, const float* cont, const float* b,
                      const float* h0, float* gates, Array past, float* state, Array h);
  void (*rnn_backward)(const RecurrentShape&, const float* w, const float* cont, const float* gates,
                       ConstArray dh, Array dgates, float* sum);
  void (*lstm_backward)(const RecurrentShape&, const float* w, const float* cont, const float* c0,
                        const float* gates, const float* c, ConstArray dh, Array dgates,
                        float* sum);
  void (*gru_backward)(const RecurrentShape&, const float* w, const float* cont, const float* gates,
                       ConstArray past, ConstArray dh, Array dgates, float* sum, float* sum_u);
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
      kWithPlainWeights<&K::pack_forward, &K::gru_forward>,
      kWithPlainWeights<&K::pack_backward, &K::rnn_backward>,
      kWithPlainWeights<&K::pack_backward, &K::lstm_backward>,
      kWithPlainWeights<&K::pack_backward, &K::gru_backward>};
  return kKernels;
}

void bind_recurrent(py::module_ m) {
  using S = RecurrentShape;
  def_shape(m, "RecurrentShape", field("steps", &S::steps), field("batch", &S::batch),
            field("hidden", &S::hidden), field("gates", &S::gates),
            field("gate_stride", &S::gate_stride), field("reverse", &S::reverse));
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
  def_kernel(m, "gru_forward", &recurrent_of_plain_weights, &K::gru_forward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n, bias = s.gates * s.hidden;
    return Extents{weights(s), s.steps * s.batch, bias, n, gates(s), all, n, all};
  });
  def_kernel(m, "rnn_backward", &recurrent_of_plain_weights, &K::rnn_backward, [=](const S& s) {
    const int64_t all = s.steps * s.batch * s.hidden;
    return Extents{weights(s), s.steps * s.batch, gates(s), all, gates(s), sum(s)};
  });
  def_kernel(m, "lstm_backward", &recurrent_of_plain_weights, &K::lstm_backward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, n, gates(s), all, all, gates(s), sum(s)};
  });
  def_kernel(m, "gru_backward", &recurrent_of_plain_weights, &K::gru_backward, [=](const S& s) {
    const int64_t n = s.batch * s.hidden, all = s.steps * n;
    return Extents{weights(s), s.steps * s.batch, gates(s), all, all, gates(s), sum(s), n};
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

void bind_roi(py::module_ m) {
  using S = RoiShape;
  def_shape(m, "RoiShape", field("rois", &S::rois), field("ph", &S::ph), field("pw", &S::pw),
            field("n", &S::n), field("c", &S::c), field("h", &S::h), field("w", &S::w),
            field("row_taps", &S::row_taps), field("column_taps", &S::column_taps));
  const auto in = [](const S& s) { return s.n * s.c * s.h * s.w; };
  const auto rows = [](const S& s) { return 2 * s.rois * s.ph; };
  const auto columns = [](const S& s) { return 2 * s.rois * s.pw; };
  const auto out = [](const S& s) { return s.rois * s.bins() * s.c; };
  const auto mean = [=](const S& s) {
    return Extents{s.rois, rows(s), columns(s), in(s), s.rois * s.c};
  };
  const auto align = [=](const S& s, int64_t from, int64_t to) {
    return Extents{s.rois,        s.rois * s.ph + 1, s.row_taps, s.row_taps, s.rois * s.pw + 1,
                   s.column_taps, s.column_taps,     from,       to};
  };
  using K = RoiKernels;
  def_kernel(m, "max_forward", &roi_kernels, &K::max_forward, [=](const S& s) {
    return Extents{s.rois, rows(s), columns(s), in(s), out(s), optional(out(s))};
  });
  def_kernel(m, "max_backward", &roi_kernels, &K::max_backward,
             [=](const S& s) { return Extents{s.rois, out(s), out(s), in(s)}; });
  def_kernel(m, "mean_forward", &roi_kernels, &K::mean_forward, mean);
  def_kernel(m, "mean_backward", &roi_kernels, &K::mean_backward,
             [=](const S& s) { return Extents{s.rois, rows(s), columns(s), s.rois * s.c, in(s)}; });
  def_kernel(m, "align_forward", &roi_kernels, &K::align_forward,
             [=](const S& s) { return align(s, in(s), out(s)); });
  def_kernel(m, "align_backward", &roi_kernels, &K::align_backward,
             [=](const S& s) { return align(s, out(s), in(s)); });
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
  def_kernel(m, "smoothed_loss", &softmax_kernels, &K::smoothed_loss,
             [](const S& s, bool, int, float, float) {
               const int64_t positions = s.outer * s.inner;
               return Extents{positions * s.classes, positions, optional(s.classes),
                              optional(positions), 1};
             });
  def_kernel(m, "smoothed_loss_backward", &softmax_kernels, &K::smoothed_loss_backward,
             [](const S& s, bool, int, float, float) {
               const int64_t positions = s.outer * s.inner, n = positions * s.classes;
               return Extents{n, positions, optional(s.classes), optional(positions), n};
             });
  def_kernel(m, "soft_loss", &softmax_kernels, &K::soft_loss,
             [](const S& s, float, float) { return Extents{s.outer * s.classes * s.inner}; });
  def_kernel(m, "soft_loss_backward", &softmax_kernels, &K::soft_loss_backward,
             [](const S& s, float, float) { return Extents{s.outer * s.classes * s.inner}; });
  def_kernel(m, "pick", &softmax_kernels, &K::pick, [](const S& s, bool, int) {
    const int64_t positions = s.outer * s.inner;
    return Extents{positions * s.classes, positions, positions};
  });
  def_kernel(m, "weighted_backward", &softmax_kernels, &K::weighted_backward,
             [](const S& s, bool, int, float) {
               const int64_t positions = s.outer * s.inner, n = positions * s.classes;
               return Extents{n, positions, positions, n};
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

void bind_stochastic(py::module_ m) {
  const auto def = [&m](const char* name, auto kernel) {
    def_kernel(m, name, &stochastic_kernels, kernel, kAll);
  };
  using K = StochasticKernels;
  def("uniform", &K::uniform);
  def("bernoulli", &K::bernoulli);
  def("sigmoid_bernoulli", &K::sigmoid_bernoulli);
  def("add_gaussian", &K::add_gaussian);
  def("corrupt", &K::corrupt);
  def("gaussian_sample", &K::gaussian_sample);
  def("gaussian_kl", &K::gaussian_kl);
  def("gaussian_kl_backward", &K::gaussian_kl_backward);
}

// Of w and its like, which ids point into: as many rows as the caller says.
void bind_negative_sampling(py::module_ m) {
  using K = NegativeSamplingKernels;
  using S = SampledShape;
  def_shape(m, "SampledShape", field("rows", &S::rows), field("samples", &S::samples),
            field("size", &S::size));
  def_kernel(m, "draw", &negative_sampling_kernels, &K::draw,
             [](int64_t n, int64_t words, uint64_t, uint64_t) { return Extents{words, words, n}; });
  const auto ids = [](const S& s) { return s.rows * s.samples; };
  def_kernel(m, "forward", &negative_sampling_kernels, &K::forward, [=](const S& s) {
    return Extents{s.rows * s.size, s.size, optional(1), optional(1), ids(s), ids(s)};
  });
  def_kernel(m, "backward_x", &negative_sampling_kernels, &K::backward_x,
             [=](const S& s, float) { return Extents{s.size, ids(s), ids(s), s.rows * s.size}; });
  def_kernel(m, "backward_w", &negative_sampling_kernels, &K::backward_w, [=](const S& s, float) {
    return Extents{s.rows * s.size, ids(s), ids(s), optional(s.size), optional(1)};
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
  def_kernel(m, "smooth_l1", &loss_kernels, &K::smooth_l1,
             [](int64_t n, float) { return Extents{n, n, optional(n), optional(n)}; });
  def_kernel(m, "smooth_l1_backward", &loss_kernels, &K::smooth_l1_backward,
             [](int64_t n, float, float) { return Extents{n, n, optional(n), optional(n), n}; });
  def_kernel(m, "dots", &loss_kernels, &K::dots,
             [](int64_t rows, int64_t dim) { return Extents{rows * dim, rows * dim, rows}; });
  def_kernel(m, "combine_rows", &loss_kernels, &K::combine_rows,
             [](int64_t rows, int64_t dim, bool) {
               const int64_t n = rows * dim;
               return Extents{rows, n, rows, n, n};
             });
  def_kernel(m, "powers", &loss_kernels, &K::powers, [](int64_t rows, int64_t dim, float, float) {
    return Extents{rows * dim, rows * dim, rows};
  });
  def_kernel(m, "power_slopes", &loss_kernels, &K::power_slopes,
             [](int64_t rows, int64_t dim, float, float, bool) {
               const int64_t n = rows * dim;
               return Extents{rows, n, n, n};
             });
  def_kernel(m, "kl_divergence", &loss_kernels, &K::kl_divergence,
             [](int64_t n, bool) { return Extents{n, n, optional(n)}; });
  def_kernel(
      m, "kl_divergence_backward", &loss_kernels, &K::kl_divergence_backward,
      [](int64_t n, bool, float) { return Extents{n, n, optional(n), optional(n), optional(n)}; });
  def_kernel(m, "focal", &loss_kernels, &K::focal,
             [](int64_t n, float, float) { return Extents{n, n, optional(n)}; });
  def_kernel(m, "focal_backward", &loss_kernels, &K::focal_backward,
             [](int64_t n, float, float, float) { return Extents{n, n, optional(n), n}; });
  def_kernel(m, "focal_of_label", &loss_kernels, &K::focal_of_label,
             [](int64_t n, float, float) { return Extents{n, n, n}; });
  const auto image = [](int64_t n, int64_t h, int64_t w, auto...) { return Extents{n * h * w}; };
  def_kernel(m, "variation", &loss_kernels, &K::variation, image);
  def_kernel(m, "variation_backward", &loss_kernels, &K::variation_backward, image);
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

void bind_l2_norm(py::module_ m) {
  using S = L2NormShape;
  def_shape(m, "L2NormShape", field("rows", &S::rows), field("positions", &S::positions),
            field("channels", &S::channels));
  const auto count = [](const S& s) { return s.rows * s.positions * s.channels; };
  using K = L2NormKernels;
  def_kernel(m, "forward", &l2_norm_kernels, &K::forward, [=](const S& s, float, float) {
    return Extents{count(s), s.channels, s.rows, count(s)};
  });
  def_kernel(m, "backward", &l2_norm_kernels, &K::backward, [=](const S& s, float) {
    const int64_t n = count(s);
    return Extents{n, s.channels, s.rows, n, optional(n), optional(s.channels)};
  });
}

void bind_interp(py::module_ m) {
  using S = InterpShape;
  using Axis = std::array<int64_t, 4>;
  // Of each axis (size, begin, in, out).
  py::class_<S>(m, "InterpShape")
      .def(py::init([](int64_t n, int64_t channels, const Axis& h, const Axis& w) {
             return S{n, channels, {h[0], h[1], h[2], h[3]}, {w[0], w[1], w[2], w[3]}};
           }),
           py::arg("n"), py::arg("channels"), py::arg("h"), py::arg("w"));
  const auto in = [](const S& s) { return s.n * s.h.size * s.w.size * s.channels; };
  const auto out = [](const S& s) { return s.n * s.h.out * s.w.out * s.channels; };
  using K = InterpKernels;
  def_kernel(m, "forward", &interp_kernels, &K::forward,
             [=](const S& s) { return Extents{in(s), out(s)}; });
  def_kernel(m, "backward", &interp_kernels, &K::backward,
             [=](const S& s) { return Extents{out(s), in(s)}; });
}

// Functions that are the same at all instruction sets, as a table.
struct MovementKernels {
  void (*copy_box)(const Box&, ConstArray x, Array y);
};
const MovementKernels& movement_kernels() {
  static constexpr MovementKernels kKernels = {&copy_box};
  return kKernels;
}

void bind_movement(py::module_ m) {
  def_shape(m, "Box", field("shape", &Box::shape), field("x_stride", &Box::x_stride),
            field("y_stride", &Box::y_stride));
  // Up to where each stride reaches.
  const auto extent = [](const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
    int64_t last = 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] == 0) return int64_t{0};
      last += (shape[i] - 1) * stride[i];
    }
    return last + 1;
  };
  def_kernel(m, "copy_box", &movement_kernels, &MovementKernels::copy_box, [=](const Box& b) {
    return Extents{extent(b.shape, b.x_stride), extent(b.shape, b.y_stride)};
  });
}

void bind_update(py::module_ m) {
  using S = UpdateShape;
  using K = UpdateKernels;
  def_shape(m, "UpdateShape", field("n", &S::n), field("grad_scale", &S::grad_scale),
            field("weight_decay", &S::weight_decay), field("l1", &S::l1), field("rate", &S::rate),
            field("momentum", &S::momentum), field("momentum2", &S::momentum2),
            field("delta", &S::delta), field("decoupled_decay", &S::decoupled_decay),
            field("clip", &S::clip));
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
  def_kernel(m, "limit_norms", &update_kernels, &K::limit_norms,
             [](int64_t rows, int64_t size, float) { return Extents{rows * size}; });
}

}  // namespace

void bind_kernel_families(py::module_& m) {
  bind_eltwise(m.def_submodule("eltwise"));
  bind_activation(m.def_submodule("activation"));
  bind_arg_max(m.def_submodule("arg_max"));
  bind_boxes(m.def_submodule("boxes"));
  bind_cost_volume(m.def_submodule("cost_volume"));
  bind_image(m.def_submodule("image"));
  bind_pool(m.def_submodule("pool"));
  bind_im2col(m.def_submodule("im2col"));
  bind_lrn(m.def_submodule("lrn"));
  bind_embed(m.def_submodule("embed"));
  bind_recurrent(m.def_submodule("recurrent"));
  bind_reduce(m.def_submodule("reduce"));
  bind_roi(m.def_submodule("roi"));
  bind_softmax(m.def_submodule("softmax"));
  bind_stochastic(m.def_submodule("stochastic"));
  bind_loss(m.def_submodule("loss"));
  bind_negative_sampling(m.def_submodule("negative_sampling"));
  bind_norm(m.def_submodule("norm"));
  bind_l2_norm(m.def_submodule("l2_norm"));
  bind_interp(m.def_submodule("interp"));
  bind_movement(m.def_submodule("movement"));
  bind_update(m.def_submodule("update"));
}

}  // namespace pydl
