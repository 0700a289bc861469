#include "kernels/conv.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "kernels/column_sums.h"
#include "kernels/conv_autotune.h"
#include "kernels/conv_implementations.h"
#include "kernels/isa.h"
#include "pydl/blob.h"

namespace pydl::kernels {
namespace {

int64_t product(const std::vector<int64_t>& v) {
  return std::accumulate(v.begin(), v.end(), int64_t{1}, std::multiplies<>());
}

// "h" and "w" for the last axes, "d" before them, numbers before that.
std::string axis_name(size_t axis, size_t axes) {
  const size_t from_last = axes - 1 - axis;
  return from_last < 3 ? std::string(1, "whd"[from_last]) : std::to_string(axis);
}

void check_shape(const ConvShape& s) {
  check(s.n >= 0 && s.ic >= 1 && s.oc >= 1 && s.group >= 1,
        "convolution: batch, channels and group must be positive, not n=", s.n, " ic=", s.ic,
        " oc=", s.oc, " group=", s.group);
  check(s.ic % s.group == 0 && s.oc % s.group == 0, "convolution: group ", s.group,
        " does not divide both ", s.ic, " input and ", s.oc, " output channels");
  const size_t axes = s.in.size();
  for (const auto* v : {&s.kernel, &s.stride, &s.pad, &s.dilation}) {
    check(v->size() == axes, "convolution: ", axes,
          " spatial axes, but kernel, stride, pad and dilation have ", s.kernel.size(), ", ",
          s.stride.size(), ", ", s.pad.size(), " and ", s.dilation.size(), " entries");
  }
  for (size_t i = 0; i < axes; ++i) {
    check(s.kernel[i] >= 1 && s.stride[i] >= 1 && s.dilation[i] >= 1 && s.pad[i] >= 0,
          "convolution: on axis ", i, " kernel ", s.kernel[i], ", stride ", s.stride[i],
          " and dilation ", s.dilation[i], " must be at least 1, and pad ", s.pad[i],
          " at least 0");
    const int64_t extent = s.dilation[i] * (s.kernel[i] - 1) + 1;
    check(extent <= s.in[i] + 2 * s.pad[i], "convolution: kernel of extent ", extent,
          " is larger than its padded input ", s.in[i] + 2 * s.pad[i], " on axis ", i);
  }
  double padded = sizeof(float) * static_cast<double>(s.n * s.ic);  // what some make a copy of
  for (size_t i = 0; i < axes; ++i) padded *= static_cast<double>(s.in[i] + 2 * s.pad[i]);
  check(padded <= static_cast<double>(memory_limit()),
        "convolution: the padded input is larger than the limit of ", memory_limit() >> 20,
        " MiB; pad less or raise PYDL_MEMORY_LIMIT");
}

// The same problem, with no step larger than what it steps over: implementations take memory and
// time by strides and dilations.
ConvShape reduced(ConvShape s) {
  for (size_t i = 0; i < s.in.size(); ++i) {
    if (s.kernel[i] == 1) s.dilation[i] = 1;
    const int64_t extent = s.dilation[i] * (s.kernel[i] - 1) + 1;
    s.stride[i] = std::min(s.stride[i], s.in[i] + 2 * s.pad[i] - extent + 1);
  }
  return s;
}

const ConvImplementation& best_for(const ConvShape& shape, ConvPass pass) {
  for (const ConvImplementation* i : conv_list()) {
    if (i->accepts(shape) && i->pays(shape, pass)) return *i;
  }
  fail("convolution: no implementation takes ", shape.text());
}

using Choose = const ConvImplementation& (*)(const ConvShape&, ConvPass);

// Each pass by the implementation that `choose` names for it, at the first use.
class ConvByPass final : public Conv {
 public:
  ConvByPass(const ConvShape& shape, Choose choose) : shape_(reduced(shape)), choose_(choose) {}

  const char* name() const override { return name_of(ConvPass::kForward); }
  const char* name_of(ConvPass pass) const {
    const Chosen& chosen = passes_[static_cast<int>(pass)];
    return (chosen.how ? *chosen.how : best_for(shape_, pass)).name;
  }
  void weights_changed() override {
    for (const Chosen& pass : passes_) {
      if (pass.conv) pass.conv->weights_changed();
    }
  }
  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    at(ConvPass::kForward).forward(x, w, epilogue, y);
  }
  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    at(ConvPass::kBackwardData).backward_data(dy, w, epilogue, dx);
  }
  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    at(ConvPass::kBackwardWeights).backward_weights(x, dy, dw, dbias);
  }

 private:
  struct Chosen {
    const ConvImplementation* how = nullptr;
    std::shared_ptr<Conv> conv;  // passes with the same implementation share it
  };

  Conv& at(ConvPass pass) {
    Chosen& chosen = passes_[static_cast<int>(pass)];
    if (chosen.conv) return *chosen.conv;
    const ConvImplementation* how = &choose_(shape_, pass);
    for (const Chosen& other : passes_) {
      if (other.how == how) chosen.conv = other.conv;
    }
    if (!chosen.conv) chosen.conv = how->make(shape_);
    chosen.how = how;
    return *chosen.conv;
  }

  const ConvShape shape_;
  const Choose choose_;
  std::array<Chosen, kConvPasses> passes_;
};

class TransposedConv final : public Conv {
 public:
  TransposedConv(const ConvShape& s, Choose choose)
      : positions_(s.n * s.in_count()), channels_(s.ic), conv_(s, choose) {}

  const char* name() const override { return conv_.name_of(ConvPass::kBackwardData); }
  void weights_changed() override { conv_.weights_changed(); }
  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    conv_.backward_data(x, w, epilogue, y);
  }
  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    conv_.forward(dy, w, epilogue, dx);
  }
  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    conv_.backward_weights(dy, x, dw, nullptr);
    if (dbias) column_sums_kernels().add(positions_, channels_, dy, dbias);
  }

 private:
  const int64_t positions_, channels_;  // of y
  ConvByPass conv_;
};

}  // namespace

std::vector<int64_t> ConvShape::out() const {
  std::vector<int64_t> sizes(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    sizes[i] = (in[i] + 2 * pad[i] - (dilation[i] * (kernel[i] - 1) + 1)) / stride[i] + 1;
  }
  return sizes;
}

int64_t ConvShape::in_count() const { return product(in); }
int64_t ConvShape::out_count() const { return product(out()); }
int64_t ConvShape::kernel_count() const { return product(kernel); }

double ConvShape::flops() const {
  return 2.0 * static_cast<double>(n) * static_cast<double>(oc) * static_cast<double>(out_count()) *
         static_cast<double>(ic / group * kernel_count());
}

std::string ConvShape::text() const {
  std::string t = pydl::text("mb", n, "g", group);
  const auto add = [&](const char* letter, const std::vector<int64_t>& v) {
    for (size_t i = 0; i < v.size(); ++i)
      t += letter + axis_name(i, v.size()) + std::to_string(v[i]);
  };
  t += pydl::text("ic", ic);
  add("i", in);
  t += pydl::text("oc", oc);
  add("k", kernel);
  add("s", stride);
  add("p", pad);
  add("d", dilation);
  return t;
}

const ConvList& conv_list() {
  static const ConvList fast = {&conv_gemm_1x1,      &conv_depthwise, &conv_winograd_4x4,
                                &conv_winograd_2x2,  &conv_col2im,    &conv_winograd_2x2_5x5,
                                &conv_implicit_gemm, &conv_ref};
  static const ConvList ref = {&conv_ref};
  return isa() == Isa::kRef ? ref : fast;
}

std::unique_ptr<Conv> make_conv(const ConvShape& shape, bool autotune) {
  check_shape(shape);
  return std::make_unique<ConvByPass>(shape, autotune ? fastest_conv : best_for);
}

std::unique_ptr<Conv> make_transposed_conv(const ConvShape& shape, bool autotune) {
  check_shape(shape);
  return std::make_unique<TransposedConv>(shape, autotune ? fastest_conv : best_for);
}

std::unique_ptr<Conv> make_conv(const ConvShape& shape, const std::string& name) {
  check_shape(shape);
  std::vector<std::string> names;
  for (const ConvImplementation* i : conv_list()) {
    names.push_back(i->name);
    if (name != i->name) continue;
    check(i->accepts(shape), "convolution: \"", name, "\" does not take ", shape.text());
    return i->make(shape);
  }
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
  fail("convolution: unknown implementation \"", name, "\"", did_you_mean(name, names),
       "; with instruction set ", isa_name(isa()), " there are: ", all);
}

}  // namespace pydl::kernels
