// Convolution over any number of spatial axes, with groups, stride, padding and dilation.

#include "layers/conv_layer.h"

namespace pydl {

// W: (num_output, C / group, kernel...)
class Convolution final : public ConvLayer {
 protected:
  void set_sizes(int64_t channels, const std::vector<int64_t>& in,
                 kernels::ConvShape* problem) const override {
    check_window_fits(window(), in);
    problem->ic = channels;
    problem->oc = num_output();
    problem->in = in;
  }
  std::vector<int64_t> out(const kernels::ConvShape& problem) const override {
    return problem.out();
  }
  std::unique_ptr<kernels::Conv> make_kernel(const kernels::ConvShape& problem) const override {
    return kernels::make_conv(problem, context().autotune);
  }
  FoldedWeights::Order weights_order(const kernels::ConvShape& problem) const override {
    return {problem.oc, problem.oc, 1};
  }
};

PYDL_REGISTER_LAYER("Convolution", Convolution,
                    "Convolution over any number of axes, with groups, stride, padding, dilation.");

}  // namespace pydl
