// Convolution over any number of spatial axes, with groups, stride, padding and dilation.

#include "core/check.h"
#include "kernels/conv.h"
#include "kernels/eltwise.h"
#include "layers/conv_params.h"
#include "layers/folded_weights.h"
#include "layers/weights_cache.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: (N..., C, in...)   W: (O, C / group, kernel...)   b: (O)   tops: (N..., O, out...)
// Several bottoms of one shape share the weights. As in Caffe, `axis` says which one is C.
class Convolution final : public LayerOf<ConvolutionParams> {
 public:
  Arity bottoms() const override { return {1, -1}; }
  Arity tops() const override { return {1, -1}; }
  bool adds_to_diff() const override { return true; }
  DTypes dtypes() const override {
    return channel_axis_ == 1 ? DTypes::kBFloat16 : DTypes::kFloat32;
  }
  // Layers that map channels, as part of the weights, where these are not to be learned; the sum
  // with another blob; ReLU.
  bool CanFuse(const LayerChain& chain, const Layer& next, bool with_backward) const override {
    if (!chain.empty() && chain.back()->is_rectifier()) return false;
    if (next.is_rectifier()) return true;
    const bool summed = !chain.empty() && chain.back()->is_sum();
    const bool fuses = next.is_sum() || FoldedWeights::accepts(next);
    return fuses && direct() && !summed && !with_backward;
  }
  Layouts layouts() const override {
    return channel_axis_ == 1 ? Layouts::kChannelsLast : Layouts::kPlain;
  }

  void SetUp(const Blobs& bottom, const Blobs& top) override {
    const ConvolutionParams& p = params_of();
    check(bottom.size() == top.size(), "has ", bottom.size(), " bottoms and ", top.size(),
          " tops; each bottom needs one top");
    channel_axis_ = bottom[0]->CanonicalAxis(p.axis);
    axes_ = bottom[0]->axes() - channel_axis_ - 1;
    window_ = read_window(p, axes_);
    check(p.num_output && *p.num_output > 0, "convolution_param.num_output must be given and ",
          "positive", p.num_output ? ", got " + std::to_string(*p.num_output) : "");
    const int64_t oc = *p.num_output, ic = bottom[0]->shape(channel_axis_), group = p.group;
    check(group > 0 && ic % group == 0 && oc % group == 0, "group ", group,
          " must divide both the ", ic, " input channels and num_output ", oc);
    Shape weights{oc, ic / group};
    weights.insert(weights.end(), window_.kernel.begin(), window_.kernel.end());
    AddParam(weights, &p.weight_filler);
    if (p.bias_term) AddParam({oc}, &p.bias_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& shape = bottom[0]->shape();
    check(bottom[0]->axes() == channel_axis_ + 1 + axes_, "was set up for ",
          channel_axis_ + 1 + axes_, " axes, but its bottom is now ", shape_text(shape));
    kernels::ConvShape problem = problem_of(*bottom[0]);
    const std::vector<int64_t> out = problem.out();
    Shape top_shape(shape.begin(), shape.begin() + channel_axis_);
    top_shape.push_back(problem.oc);
    top_shape.insert(top_shape.end(), out.begin(), out.end());
    for (size_t i = 0; i < bottom.size(); ++i) {
      check(bottom[i]->shape() == shape, "its bottoms must have one shape, got ", shape_text(shape),
            " and ", shape_text(bottom[i]->shape()));
      top[i]->Reshape(top_shape);
    }
    if (!conv_ || !(problem == problem_) || isa_ != kernels::isa()) {
      conv_ = kernels::make_conv(problem);
      isa_ = kernels::isa();
    }
    problem_ = problem;
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    refresh_weights();
    const Blob* own_bias = params_of().bias_term ? params()[1].get() : nullptr;
    const bool folds = folded_.fold(fused_, *params()[0], own_bias);
    if (folds != folds_ || (folds && folded_.changed())) conv_->weights_changed();
    folds_ = folds;
    const float* w = folds ? folded_.weights() : params()[0]->data();
    const float* bias = folds ? folded_.bias() : own_bias ? own_bias->data() : nullptr;
    kernels::Epilogue epilogue{bias, !fused_.empty() && fused_.back()->is_rectifier()};
    if (bottom.size() > top.size())
      epilogue.residual = bottom.back()->data(format_for(*bottom.back()));
    for (size_t i = 0; i < top.size(); ++i) {
      const ConstArray x = input(*bottom[i]);
      conv_->forward(x, w, epilogue, output(top[i]));
      if (!direct())
        scratch_to_plain(problem_.n, problem_.oc, problem_.out_count(), y_, top[i]->mutable_data(),
                         false);
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    refresh_weights();
    if (folds_) conv_->weights_changed();
    folds_ = false;
    const bool bias = params_of().bias_term && param_propagate(1);
    for (size_t i = 0; i < top.size(); ++i) {
      const ConstArray dy = gradient(*top[i]);
      float* db = bias ? params()[1]->update_diff() : nullptr;
      if (param_propagate(0)) {
        conv_->backward_weights(input(*bottom[i]), dy, params()[0]->update_diff(), db);
      } else if (bias) {  // frozen weights
        kernels::eltwise_kernels().affine_backward_params(problem_.n * problem_.out_count(),
                                                          problem_.oc, 1, nullptr, dy, nullptr, db);
      }
      if (down[i] == Propagate::kNo) continue;
      const bool add = down[i] == Propagate::kAdd;
      const float* w = params()[0]->data();
      if (direct()) {
        const Format to = format_for(*bottom[i]);
        conv_->backward_data(dy, w, add ? bottom[i]->update_diff(to) : bottom[i]->mutable_diff(to),
                             add);
      } else {
        x_.resize(bottom[i]->count());
        conv_->backward_data(dy, w, x_.data(), false);
        scratch_to_plain(problem_.n, problem_.ic, problem_.in_count(), x_,
                         add ? bottom[i]->update_diff() : bottom[i]->mutable_diff(), add);
      }
    }
  }

  double flops(const Blobs& bottom, const Blobs&) const override {
    return problem_.flops() * static_cast<double>(bottom.size());
  }
  std::string implementation() const override { return conv_ ? conv_->name() : ""; }

 private:
  kernels::ConvShape problem_of(const Blob& bottom) const {
    kernels::ConvShape c;
    c.n = bottom.count(0, channel_axis_);
    c.ic = bottom.shape(channel_axis_);
    c.oc = *params_of().num_output;
    c.group = params_of().group;
    check(c.ic == params()[0]->shape(1) * c.group, "was set up for ",
          params()[0]->shape(1) * c.group, " channels, but its bottom is now ",
          shape_text(bottom.shape()));
    c.in.assign(bottom.shape().begin() + channel_axis_ + 1, bottom.shape().end());
    c.kernel = window_.kernel;
    c.stride = window_.stride;
    c.pad = window_.pad;
    c.dilation = window_.dilation;
    c.arithmetic = static_cast<kernels::Arithmetic>(context().arithmetic);
    check_window_fits(window_, c.in);
    return c;
  }

  void refresh_weights() {
    if (isa_ != kernels::isa()) {
      conv_ = kernels::make_conv(problem_);
      isa_ = kernels::isa();
    }
    if (cache_.stale(*params()[0])) conv_->weights_changed();
  }

  // Channels-last arrays for the kernel: the blobs' own when the channel is axis 1, else scratch.
  bool direct() const { return channel_axis_ == 1; }
  ConstArray input(const Blob& bottom) {
    if (direct()) return bottom.data(format());
    x_.resize(bottom.count());
    kernels::eltwise_kernels().to_channels_last(problem_.n, problem_.ic, problem_.in_count(),
                                                bottom.data(), x_.data());
    return x_.data();
  }
  Array output(Blob* top) {
    if (direct()) return top->mutable_data(format_for(*top));
    y_.resize(top->count());
    return y_.data();
  }
  ConstArray gradient(const Blob& top) {
    if (direct()) return top.diff(format());
    y_.resize(top.count());
    kernels::eltwise_kernels().to_channels_last(problem_.n, problem_.oc, problem_.out_count(),
                                                top.diff(), y_.data());
    return y_.data();
  }
  static void scratch_to_plain(int64_t n, int64_t c, int64_t s, const std::vector<float>& from,
                               float* to, bool add) {
    const auto& kernels = kernels::eltwise_kernels();
    if (!add) return kernels.to_plain(n, c, s, from.data(), to);
    std::vector<float> plain(from.size());
    kernels.to_plain(n, c, s, from.data(), plain.data());
    kernels.add(static_cast<int64_t>(plain.size()), to, plain.data(), to);
  }

  int channel_axis_ = 1, axes_ = 2;
  Window window_;
  kernels::ConvShape problem_;
  std::unique_ptr<kernels::Conv> conv_;
  kernels::Isa isa_ = kernels::Isa::kRef;
  WeightsCache cache_;
  FoldedWeights folded_;
  bool folds_ = false;        // the last Forward used folded_
  std::vector<float> x_, y_;  // only where the channel is not axis 1
};

PYDL_REGISTER_LAYER("Convolution", Convolution,
                    "Convolution over any number of axes, with groups, stride, padding, dilation.");

}  // namespace pydl
