// Convolution over any number of spatial axes, with groups, stride, padding and dilation; and the
// types by which forks of Caffe have parts of that.

#include "core/check.h"
#include "layers/conv_layer.h"
#include "layers/video_params.h"

namespace pydl {

// W: (num_output, C / group, kernel...)
class Convolution : public ConvLayer {
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

// MobileNet's, with its groups written out.
class DepthwiseConvolution final : public Convolution {};

// Each channel by itself; num_output need not be given, and is not looked at.
class ConvolutionDepthwise final : public Convolution {
 protected:
  Outputs read_outputs(int64_t channels) const override {
    check(channels > 0, "its bottom has no channels");
    return {channels, channels};
  }
};

// C3D's (Tran et al. 2015, arXiv:1412.0767), over (N, C, length, height, width).
class Convolution3d final : public Convolution {
 public:
  static Value schemas() { return video_schemas<ConvolutionParams>("convolution3d_param"); }

 protected:
  void ReadParams(const Value& params) override {
    Convolution::ReadParams(video_params<ConvolutionParams>(params, "convolution3d_param"));
  }
};

PYDL_REGISTER_LAYER("Convolution", Convolution,
                    "Convolution over any number of axes, with groups, stride, padding, dilation.");
PYDL_REGISTER_LAYER("DepthwiseConvolution", DepthwiseConvolution,
                    "Convolution under the name that MobileNet's Caffe has for one with as many "
                    "groups as channels.");
PYDL_REGISTER_LAYER("ConvolutionDepthwise", ConvolutionDepthwise,
                    "Convolution of each channel by itself; the bottom says how many there are.");
PYDL_REGISTER_LAYER("Convolution3D", Convolution3d,
                    "C3D's convolution over length, height and width: kernel_depth, "
                    "temporal_stride and temporal_pad are for the length.");

}  // namespace pydl
