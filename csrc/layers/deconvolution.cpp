// Deconvolution: the transposed convolution. It does forward what a convolution from num_output to
// C channels does backward, and the other way round.

#include "core/check.h"
#include "layers/conv_layer.h"

namespace pydl {

// W: (C, num_output / group, kernel...)   out = stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad
class Deconvolution final : public ConvLayer {
 protected:
  void set_sizes(int64_t channels, const std::vector<int64_t>& in,
                 kernels::ConvShape* problem) const override {
    problem->ic = num_output();
    problem->oc = channels;
    const std::vector<int64_t> extent = window().extent();
    bool some = true;
    for (size_t i = 0; i < in.size(); ++i) {
      check(in[i] > 0, "its bottom has no pixels: ", shape_text(in));
      const int64_t strides = shape_count({window().stride[i], in[i] - 1});  // throws if too large
      problem->in.push_back(strides + extent[i] - 2 * window().pad[i]);
      some = some && problem->in.back() > 0;
    }
    check(some, "pad ", shape_text(window().pad), " leaves nothing of the output: an input ",
          shape_text(in), " with stride ", shape_text(window().stride), " and kernel ",
          shape_text(extent), " gives ", shape_text(problem->in));
  }
  std::vector<int64_t> out(const kernels::ConvShape& problem) const override { return problem.in; }
  std::unique_ptr<kernels::Conv> make_kernel(const kernels::ConvShape& problem) const override {
    return kernels::make_transposed_conv(problem, context().autotune);
  }
  FoldedWeights::Order weights_order(const kernels::ConvShape& problem) const override {
    return {problem.ic, problem.group, problem.oc / problem.group};
  }
};

PYDL_REGISTER_LAYER("Deconvolution", Deconvolution,
                    "Transposed convolution over any number of axes: forward what a convolution "
                    "does backward. Upsamples with the weight_filler \"bilinear\".");

}  // namespace pydl
