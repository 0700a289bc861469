// Convolution by the correlation kernels (kernels/correlation.h): as batch-reduced products over
// windows of the input, or channel by channel where each channel is a group.
#include "kernels/column_sums.h"
#include "kernels/conv_implementations.h"
#include "kernels/conv_passes.h"
#include "kernels/correlation.h"
#include "kernels/kept_weights.h"

namespace pydl::kernels {
namespace {

// The packed weights of some passes.
class PackedWeights {
 public:
  void weights_changed() { kept_.weights_changed(); }

  // run(starts): where each pass's weights start.
  template <class Run>
  void use(const CorrelationKernels& kernels, const Pass* passes, size_t count, const float* w,
           DType src, const Run& run) {
    std::vector<int64_t> offset(count + 1);
    for (size_t i = 0; i < count; ++i) {
      offset[i + 1] = offset[i] + kernels.packed_size(passes[i].shape, src);
    }
    const auto make = [&](float* memory) {
      for (size_t i = 0; i < count; ++i) {
        kernels.pack(passes[i].shape, passes[i].weights, w, src, memory + offset[i]);
      }
    };
    kept_.use(offset[count], src, make, [&](const float* memory) {
      std::vector<const float*> starts;
      for (size_t i = 0; i < count; ++i) starts.push_back(memory + offset[i]);
      run(starts);
    });
  }

 private:
  KeptWeights kept_;
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
    forward_weights_.use(kernels_, &forward_, 1, w, x.dtype, [&](const auto& packed) {
      kernels_.run(forward_.shape, x, packed[0], epilogue, y);
    });
  }

  void backward_data(ConstArray dy, const float* w, Array dx, bool add) override {
    const Epilogue epilogue{.residual = add ? dx : Array{}};
    const auto run = [&](const auto& packed) {
      for (size_t i = 0; i < backward_.size(); ++i) {
        kernels_.run(backward_[i].shape, dy, packed[i], epilogue, dx);
      }
    };
    backward_weights_.use(kernels_, backward_.data(), backward_.size(), w, dy.dtype, run);
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
