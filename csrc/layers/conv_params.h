// convolution_param, and the window (kernel, stride, pad, dilation) that it describes.
#pragma once

#include "layers/engine.h"
#include "pydl/filler.h"

namespace pydl {

struct ConvolutionParams {
  std::optional<int32_t> num_output;
  bool bias_term = true;
  std::vector<int32_t> pad, kernel_size, stride, dilation;
  std::optional<int32_t> pad_h, pad_w, kernel_h, kernel_w, stride_h, stride_w;
  std::vector<int32_t> hole;
  std::optional<int32_t> hole_h, hole_w, kernel_depth, temporal_stride, temporal_pad;
  int32_t group = 1;
  FillerParams weight_filler, bias_filler;
  Engine engine = Engine::kDefault;
  int32_t axis = 1;
  bool force_nd_im2col = false, weight_norm = false;

  static auto fields() {
    using P = ConvolutionParams;
    return Fields(
        "convolution_param", Field("num_output", &P::num_output, "output channels; required"),
        Field("bias_term", &P::bias_term, "add a learned bias to each channel"),
        Field("pad", &P::pad, "zeros around the input: one for all axes, or one per axis"),
        Field("kernel_size", &P::kernel_size, "one for all axes, or one per axis; required"),
        Field("stride", &P::stride, "one for all axes, or one per axis; 1 if absent"),
        Field("dilation", &P::dilation, "distance between kernel taps; 1 if absent"),
        Field("pad_h", &P::pad_h, "rows of padding; 2-D only, in the place of pad"),
        Field("pad_w", &P::pad_w, "columns of padding; 2-D only"),
        Field("kernel_h", &P::kernel_h, "kernel rows; 2-D only, in the place of kernel_size"),
        Field("kernel_w", &P::kernel_w, "kernel columns; 2-D only"),
        Field("stride_h", &P::stride_h, "stride along rows; 2-D only, in the place of stride"),
        Field("stride_w", &P::stride_w, "stride along columns; 2-D only"),
        Field("hole", &P::hole, "DeepLab's name of dilation"),
        Field("hole_h", &P::hole_h, "dilation along rows; 2-D only, in the place of hole"),
        Field("hole_w", &P::hole_w, "dilation along columns; 2-D only"),
        Field("kernel_depth", &P::kernel_depth,
              "C3D: the kernel along the first of three axes; kernel_size is for the others"),
        Field("temporal_stride", &P::temporal_stride, "C3D: the stride along the first axis"),
        Field("temporal_pad", &P::temporal_pad, "C3D: the padding along the first axis"),
        Field("group", &P::group, "channels are cut into this many independent groups"),
        Field("weight_filler", &P::weight_filler, "start values of the weights"),
        Field("bias_filler", &P::bias_filler, "start values of the bias"),
        Field("engine", &P::engine, "accepted for Caffe's files; pydl chooses its own kernels"),
        Field("axis", &P::axis, "the channel axis; those after it are spatial"),
        Field("force_nd_im2col", &P::force_nd_im2col, "accepted for Caffe's files; no effect"),
        Field("weight_norm", &P::weight_norm,
              "weights are g v / |v| along their first axis: a further blob has the lengths g"));
  }
};

// One entry per spatial axis.
struct Window {
  std::vector<int64_t> kernel, stride, pad, dilation;
  std::vector<int64_t> extent() const;  // from the first tap of the kernel to the last
  // How many windows there are in an input of that size, into which they fit.
  std::vector<int64_t> counts(const std::vector<int64_t>& in) const;
};

// Throws pydl::Error where fields contradict each other or are out of range, as Caffe does.
Window read_window(const ConvolutionParams& p, int axes);

// Throws pydl::Error if the (dilated) kernel is larger than the padded input.
void check_window_fits(const Window& window, const std::vector<int64_t>& in);

}  // namespace pydl
