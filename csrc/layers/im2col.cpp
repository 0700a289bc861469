// Im2col: the windows that a convolution looks at, as channels.

#include "kernels/im2col.h"

#include "core/check.h"
#include "layers/conv_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottom: (N..., C, in...)   top: (N..., C kernel..., out...)   As in Caffe, num_output, bias_term,
// group and the fillers mean nothing here.
class Im2col final : public LayerOf<ConvolutionParams> {
 public:
  bool backward_reads_bottom(int) const override { return false; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    channel_axis_ = bottom[0]->CanonicalAxis(params_of().axis);
    axes_ = bottom[0]->axes() - channel_axis_ - 1;
    check(axes_ > 0, "needs a bottom with spatial axes behind its channels, axis ", channel_axis_,
          ", got shape ", shape_text(bottom[0]->shape()));
    window_ = read_window(params_of(), axes_);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& shape = bottom[0]->shape();
    check(bottom[0]->axes() == channel_axis_ + 1 + axes_, "was set up for ",
          channel_axis_ + 1 + axes_, " axes, but its bottom is now ", shape_text(shape));
    const std::vector<int64_t> in(shape.begin() + channel_axis_ + 1, shape.end());
    check_window_fits(window_, in);
    const std::vector<int64_t> out = window_.counts(in);
    Shape top_shape(shape.begin(), shape.begin() + channel_axis_ + 1);
    top_shape.back() = shape_count({top_shape.back(), shape_count(window_.kernel)});
    problem_ = {bottom[0]->count(0, channel_axis_ + 1), {}};
    for (int i = 0; i < axes_; ++i) {
      problem_.axis.push_back({in[i], out[i], window_.kernel[i], window_.stride[i], window_.pad[i],
                               window_.dilation[i]});
    }
    top_shape.insert(top_shape.end(), out.begin(), out.end());
    top[0]->Reshape(top_shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::im2col_kernels().im2col(problem_, bottom[0]->data(), top[0]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::im2col_kernels().col2im(problem_, top[0]->diff(), bottom[0]->mutable_diff());
  }

 private:
  int channel_axis_ = 1, axes_ = 2;
  Window window_;
  kernels::Im2colShape problem_;
};

PYDL_REGISTER_LAYER("Im2col", Im2col,
                    "The windows that a convolution with these parameters looks at, as channels.");

}  // namespace pydl
