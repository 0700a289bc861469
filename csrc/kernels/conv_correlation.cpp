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

  void run(const CorrelationKernels& kernels, const std::vector<Pass>& passes, ConstArray src,
           const float* w, const Epilogue& epilogue, Array dst) {
    std::vector<int64_t> offset{0};
    for (const Pass& pass : passes) {
      offset.push_back(offset.back() + kernels.packed_size(pass.shape, src.dtype));
    }
    const auto make = [&](float* memory) {
      for (size_t i = 0; i < passes.size(); ++i) {
        kernels.pack(passes[i].shape, passes[i].weights, w, src.dtype, memory + offset[i]);
      }
    };
    kept_.use(offset.back(), src.dtype, make, [&](const float* memory) {
      std::vector<CorrelationPart> parts;
      for (size_t i = 0; i < passes.size(); ++i) {
        parts.push_back({&passes[i].shape, memory + offset[i]});
      }
      kernels.run(parts.data(), static_cast<int64_t>(parts.size()), src, epilogue, dst);
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
        forward_{forward_pass(s)},
        backward_(backward_passes(s)) {}

  const char* name() const override { return name_; }

  void weights_changed() override {
    forward_weights_.weights_changed();
    backward_weights_.weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    forward_weights_.run(kernels_, forward_, x, w, epilogue, y);
  }

  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    backward_weights_.run(kernels_, backward_, dy, w, epilogue, dx);
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    kernels_.backward_weights(forward_[0].shape, forward_[0].weights, x, dy, dw);
    if (dbias) column_sums_.add(positions_, oc_, dy, dbias);
  }

 private:
  const char* const name_;
  const CorrelationKernels& kernels_;
  const ColumnSums& column_sums_ = column_sums_kernels();
  const int64_t positions_, oc_;
  const std::vector<Pass> forward_, backward_;
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
