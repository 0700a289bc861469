// Convolution by the correlation kernels (kernels/correlation.h): as batch-reduced products over
// windows of the input, or channel by channel where each channel is a group.
#include <array>
#include <numeric>

#include "kernels/column_sums.h"
#include "kernels/conv_implementations.h"
#include "kernels/correlation.h"

namespace pydl::kernels {
namespace {

// One spatial axis of a convolution; missing axes are of size 1.
struct Axis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0, dilation = 1;
  int64_t kernel_step = 1;  // between its positions in the plain weights
};
using Axes = std::array<Axis, 3>;

Axes axes_of(const ConvShape& s) {
  Axes axes;
  const std::vector<int64_t> out = s.out();
  const size_t skipped = axes.size() - s.in.size();
  int64_t step = 1;
  for (size_t i = s.in.size(); i-- > 0;) {
    axes[skipped + i] = {s.in[i], out[i], s.kernel[i], s.stride[i], s.pad[i], s.dilation[i], step};
    step *= s.kernel[i];
  }
  return axes;
}

// A correlation and where its weights are.
struct Pass {
  Correlation shape;
  WeightMap weights;
};

Pass forward_pass(const ConvShape& s, const Axes& axes) {
  const int64_t icg = s.ic / s.group, ocg = s.oc / s.group, kernels = s.kernel_count();
  Pass p{{s.n, s.group, icg, ocg, {}}, {0, ocg * icg * kernels, icg * kernels, kernels, {}}};
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& a = axes[i];
    p.shape.axis[i] = {a.in, a.out, a.out, 0, 1, -a.pad, a.stride, a.kernel, a.dilation};
    p.weights.tap[i] = a.kernel_step;
  }
  return p;
}

int64_t floor_mod(int64_t a, int64_t b) { return (a % b + b) % b; }

// Input position stride i + phase gets, through kernel position k, the gradient of output
// i + (phase + pad - k dilation) / stride, for those k for which that is whole. They are equally
// far apart; in the order of rising outputs the last k comes first.
void set_phase(const Axis& a, int64_t phase, CorrelationAxis* axis, int64_t* first_weight,
               int64_t* weight_step) {
  const int64_t common = std::gcd(a.stride, a.dilation), step = a.stride / common;
  int64_t taps = 0, last = 0;
  for (int64_t k = 0; k < a.kernel; ++k) {
    if (floor_mod(phase + a.pad - k * a.dilation, a.stride) != 0) continue;
    last = k;
    ++taps;
  }
  const int64_t count = phase < a.in ? (a.in - 1 - phase) / a.stride + 1 : 0;
  const int64_t first = taps ? (phase + a.pad - last * a.dilation) / a.stride : 0;
  *axis = {a.out, a.in, count, phase, a.stride, first, 1, taps, a.dilation / common};
  *first_weight += last * a.kernel_step;
  *weight_step = -step * a.kernel_step;
}

// The roles of the channels are swapped; one pass for each phase of the strides.
std::vector<Pass> backward_passes(const ConvShape& s, const Axes& axes) {
  const int64_t icg = s.ic / s.group, ocg = s.oc / s.group, kernels = s.kernel_count();
  std::vector<Pass> passes;
  const int64_t phases = axes[0].stride * axes[1].stride * axes[2].stride;
  for (int64_t i = 0; i < phases; ++i) {
    Pass p{{s.n, s.group, ocg, icg, {}}, {0, ocg * icg * kernels, kernels, icg * kernels, {}}};
    int64_t rest = i;
    for (size_t a = 0; a < axes.size(); ++a) {
      set_phase(axes[a], rest % axes[a].stride, &p.shape.axis[a], &p.weights.first,
                &p.weights.tap[a]);
      rest /= axes[a].stride;
    }
    passes.push_back(p);
  }
  return passes;
}

// The packed weights of some passes, made when first needed after a change.
class PackedWeights {
 public:
  void weights_changed() { fresh_ = false; }

  // Where each pass's weights start.
  const std::vector<const float*>& get(const CorrelationKernels& kernels, const Pass* passes,
                                       size_t count, const float* w, DType src) {
    if (fresh_ && src_ == src) return starts_;
    std::vector<int64_t> offset(count + 1);
    for (size_t i = 0; i < count; ++i) {
      offset[i + 1] = offset[i] + kernels.packed_size(passes[i].shape, src);
    }
    memory_.resize(static_cast<size_t>(offset[count]) + 15);
    const auto misaligned = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float) % 16;
    float* base = memory_.data() + (16 - misaligned) % 16;
    starts_.clear();
    for (size_t i = 0; i < count; ++i) {
      kernels.pack(passes[i].shape, passes[i].weights, w, src, base + offset[i]);
      starts_.push_back(base + offset[i]);
    }
    fresh_ = true;
    src_ = src;
    return starts_;
  }

 private:
  std::vector<float> memory_;
  std::vector<const float*> starts_;
  bool fresh_ = false;
  DType src_ = DType::kFloat32;
};

class CorrelationConv final : public Conv {
 public:
  // The kernels are those of the instruction set in use now: packed weights belong to one.
  CorrelationConv(const char* name, const CorrelationKernels& kernels, const ConvShape& s)
      : name_(name),
        kernels_(kernels),
        positions_(s.n * s.out_count()),
        oc_(s.oc),
        forward_(forward_pass(s, axes_of(s))),
        backward_(backward_passes(s, axes_of(s))) {}

  const char* name() const override { return name_; }

  void weights_changed() override {
    forward_weights_.weights_changed();
    backward_weights_.weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    const auto& packed = forward_weights_.get(kernels_, &forward_, 1, w, x.dtype);
    kernels_.run(forward_.shape, x, packed[0], epilogue, 0.0f, y);
  }

  void backward_data(ConstArray dy, const float* w, Array dx, bool add) override {
    const auto& packed =
        backward_weights_.get(kernels_, backward_.data(), backward_.size(), w, dy.dtype);
    for (size_t i = 0; i < backward_.size(); ++i) {
      kernels_.run(backward_[i].shape, dy, packed[i], {}, add ? 1.0f : 0.0f, dx);
    }
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    kernels_.backward_weights(forward_.shape, forward_.weights, x, dy, dw);
    if (dbias) column_sums_.add(positions_, oc_, dy, dbias);
  }

 private:
  const char* const name_;
  const CorrelationKernels& kernels_;
  const ColumnSums& column_sums_ = column_sums_kernels();
  const int64_t positions_, oc_;
  const Pass forward_;
  const std::vector<Pass> backward_;
  PackedWeights forward_weights_, backward_weights_;
};

bool accepts_any(const ConvShape& s) { return s.in.size() <= 3; }

bool accepts_depthwise(const ConvShape& s) {
  return s.in.size() <= 3 && s.group > 1 && s.group == s.ic && s.group == s.oc;
}

std::unique_ptr<Conv> make_implicit_gemm(const ConvShape& s) {
  return std::make_unique<CorrelationConv>(conv_implicit_gemm.name, correlation_kernels(), s);
}

std::unique_ptr<Conv> make_depthwise(const ConvShape& s) {
  return std::make_unique<CorrelationConv>(conv_depthwise.name, depthwise_kernels(), s);
}

}  // namespace

const ConvImplementation conv_implicit_gemm = {"implicit_gemm", accepts_any, make_implicit_gemm};
const ConvImplementation conv_depthwise = {"depthwise", accepts_depthwise, make_depthwise};

}  // namespace pydl::kernels
