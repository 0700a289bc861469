// Convolution by the correlation kernels (kernels/correlation.h): as batch-reduced products over
// windows of the input, or channel by channel where each channel is a group.
#include "kernels/column_sums.h"
#include "kernels/conv_implementations.h"
#include "kernels/conv_passes.h"
#include "kernels/correlation.h"

namespace pydl::kernels {
namespace {

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
        forward_(forward_pass(s)),
        backward_(backward_passes(s)) {}

  const char* name() const override { return name_; }

  void weights_changed() override {
    forward_weights_.weights_changed();
    backward_weights_.weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    const auto& packed = forward_weights_.get(kernels_, &forward_, 1, w, x.dtype);
    kernels_.run(forward_.shape, x, packed[0], epilogue, y);
  }

  void backward_data(ConstArray dy, const float* w, Array dx, bool add) override {
    const auto& packed =
        backward_weights_.get(kernels_, backward_.data(), backward_.size(), w, dy.dtype);
    const Epilogue epilogue{.residual = add ? dx : Array{}};
    for (size_t i = 0; i < backward_.size(); ++i) {
      kernels_.run(backward_[i].shape, dy, packed[i], epilogue, dx);
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
