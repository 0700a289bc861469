#include "layers/conv_layer.h"

#include "core/check.h"
#include "kernels/eltwise.h"

namespace pydl {

using kernels::ConvShape;

// Layers that map channels, as part of the weights, where these are not to be learned; the sum with
// another blob; ReLU, and in inference ReLU6.
bool ConvLayer::CanFuse(const LayerChain& chain, const Layer& next, bool with_backward) const {
  if (!chain.empty() && chain.back()->ceiling() > 0) return false;
  if (next.is_rectifier()) return true;
  if (next.ceiling() > 0) return !with_backward;
  const bool summed = !chain.empty() && chain.back()->is_sum();
  const bool fuses = next.is_sum() || FoldedWeights::accepts(next);
  return fuses && direct() && !summed && !with_backward;
}

void ConvLayer::SetUp(const Blobs& bottom, const Blobs& top) {
  const ConvolutionParams& p = params_of();
  check(bottom.size() == top.size(), "has ", bottom.size(), " bottoms and ", top.size(),
        " tops; each bottom needs one top");
  channel_axis_ = bottom[0]->CanonicalAxis(p.axis);
  axes_ = bottom[0]->axes() - channel_axis_ - 1;
  window_ = read_window(p, axes_);
  channels_ = bottom[0]->shape(channel_axis_);
  outputs_ = read_outputs(channels_);
  const ConvShape problem = problem_of(*bottom[0]);
  Shape weights{problem.oc, problem.ic / problem.group};
  weights.insert(weights.end(), window_.kernel.begin(), window_.kernel.end());
  AddParam(weights, &p.weight_filler);
  if (p.bias_term) AddParam({num_output()}, &p.bias_filler);
  if (!p.weight_norm) return;
  AddParam(WeightNorm::length_shape(weights));
  WeightNorm::SetLengths(*params()[0], params().back().get());
}

const Blob& ConvLayer::weights() {
  const Blob& w = *params()[0];
  return params_of().weight_norm ? norm_.weights(w, *params().back()) : w;
}

ConvLayer::Outputs ConvLayer::read_outputs(int64_t channels) const {
  const ConvolutionParams& p = params_of();
  check(p.num_output && *p.num_output > 0, "convolution_param.num_output must be given and ",
        "positive", p.num_output ? ", got " + std::to_string(*p.num_output) : "");
  check(p.group > 0 && channels % p.group == 0 && *p.num_output % p.group == 0, "group ", p.group,
        " must divide both the ", channels, " input channels and num_output ", *p.num_output);
  return {*p.num_output, p.group};
}

void ConvLayer::Reshape(const Blobs& bottom, const Blobs& top) {
  const Shape& shape = bottom[0]->shape();
  const ConvShape problem = problem_of(*bottom[0]);
  const std::vector<int64_t> top_size = out(problem);
  Shape top_shape(shape.begin(), shape.begin() + channel_axis_);
  top_shape.push_back(num_output());
  top_shape.insert(top_shape.end(), top_size.begin(), top_size.end());
  for (size_t i = 0; i < bottom.size(); ++i) {
    check(bottom[i]->shape() == shape, "its bottoms must have one shape, got ", shape_text(shape),
          " and ", shape_text(bottom[i]->shape()));
    top[i]->Reshape(top_shape);
  }
  if (!conv_ || !(problem == problem_)) choose_kernel(problem);
}

ConvShape ConvLayer::problem_of(const Blob& bottom) const {
  const Shape& shape = bottom.shape();
  check(bottom.axes() == channel_axis_ + 1 + axes_, "was set up for ", channel_axis_ + 1 + axes_,
        " axes, but its bottom is now ", shape_text(shape));
  check(bottom.shape(channel_axis_) == channels_, "was set up for ", channels_,
        " channels, but its bottom is now ", shape_text(shape));
  ConvShape c;
  c.n = bottom.count(0, channel_axis_);
  c.group = outputs_.group;
  c.kernel = window_.kernel;
  c.stride = window_.stride;
  c.pad = window_.pad;
  c.dilation = window_.dilation;
  set_sizes(channels_, {shape.begin() + channel_axis_ + 1, shape.end()}, &c);
  c.arithmetic = static_cast<kernels::Arithmetic>(context().arithmetic);
  c.dtype = format().dtype;
  c.learns = learns();
  return c;
}

void ConvLayer::choose_kernel(const ConvShape& problem) {
  problem_ = problem;
  conv_ = make_kernel(problem);
  isa_ = kernels::isa();
}

// What the choice depends on besides the shapes may change after Reshape.
void ConvLayer::refresh_kernel(const Blob& bottom) {
  if (problem_.dtype != format().dtype || problem_.learns != learns() || isa_ != kernels::isa()) {
    choose_kernel(problem_of(bottom));
  }
  if (cache_.stale(weights())) conv_->weights_changed();
}

// The weights, and the bias or null, of this layer and those of its chain that they do as well.
const float* ConvLayer::fold_weights(const float** bias) {
  const Blob* own_bias = params_of().bias_term ? params()[1].get() : nullptr;
  const bool folds = folded_.fold(fused_, weights_order(problem_), weights(), own_bias);
  if (folds != folds_ || (folds && folded_.changed())) conv_->weights_changed();
  folds_ = folds;
  *bias = folds ? folded_.bias() : own_bias ? own_bias->data() : nullptr;
  return folds ? folded_.weights() : weights().data();
}

void ConvLayer::Forward(const Blobs& bottom, const Blobs& top) {
  refresh_kernel(*bottom[0]);
  kernels::Epilogue epilogue;
  const float* w = fold_weights(&epilogue.bias);
  if (!fused_.empty() && fused_.back()->ceiling() > 0) {
    epilogue.relu = true;
    epilogue.ceiling = fused_.back()->ceiling();
  }
  if (bottom.size() > top.size())
    epilogue.residual = bottom.back()->data(format_for(*bottom.back()));
  for (size_t i = 0; i < top.size(); ++i) {
    const ConstArray x = input(*bottom[i]);
    if (direct()) {
      conv_->forward(x, w, epilogue, top[i]->mutable_data(format_for(*top[i])));
    } else {
      y_.resize(top[i]->count());
      conv_->forward(x, w, epilogue, y_.data());
      to_plain(*top[i], y_, false, top[i]->mutable_data());
    }
  }
}

void ConvLayer::Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) {
  refresh_kernel(*bottom[0]);
  if (folds_) conv_->weights_changed();
  folds_ = false;
  const bool bias = params_of().bias_term && param_propagate(1);
  float* dw = learns_weights() ? weights_diff() : nullptr;
  for (size_t i = 0; i < top.size(); ++i) {
    const ConstArray dy = gradient(*top[i]);
    float* db = bias ? params()[1]->update_diff() : nullptr;
    if (dw) {
      conv_->backward_weights(input(*bottom[i]), dy, dw, db);
    } else if (bias) {  // frozen weights
      kernels::eltwise_kernels().affine_backward_params(top[i]->count() / num_output(),
                                                        num_output(), 1, nullptr, dy, nullptr, db);
    }
    if (down[i] != Propagate::kNo) propagate_down(dy, down[i] == Propagate::kAdd, bottom[i]);
  }
  if (dw && params_of().weight_norm) norm_gradients();
}

float* ConvLayer::weights_diff() {
  return params_of().weight_norm ? norm_.clear_gradient() : params()[0]->update_diff();
}

void ConvLayer::norm_gradients() {
  const size_t g = length_index();
  norm_.Backward(*params()[0], *params()[g],
                 param_propagate(0) ? params()[0]->update_diff() : nullptr,
                 param_propagate(g) ? params()[g]->update_diff() : nullptr);
}

void ConvLayer::propagate_down(ConstArray dy, bool add, Blob* bottom) {
  const float* w = weights().data();
  if (direct()) {
    const Format to = format_for(*bottom);
    const Array dx = add ? bottom->update_diff(to) : bottom->mutable_diff(to);
    conv_->backward_data(dy, w, {.residual = add ? dx : Array{}}, dx);
  } else {
    x_.resize(bottom->count());
    conv_->backward_data(dy, w, {}, x_.data());
    to_plain(*bottom, x_, add, add ? bottom->update_diff() : bottom->mutable_diff());
  }
}

double ConvLayer::flops(const Blobs& bottom, const Blobs&) const {
  return problem_.flops() * static_cast<double>(bottom.size());
}

// Channels-last arrays for the kernel: the blobs' own when the channel is axis 1, else scratch.
ConstArray ConvLayer::input(const Blob& bottom) {
  if (direct()) return bottom.data(format());
  to_channels_last(bottom, bottom.data(), &x_);
  return x_.data();
}

ConstArray ConvLayer::gradient(const Blob& top) {
  if (direct()) return top.diff(format());
  to_channels_last(top, top.diff(), &y_);
  return y_.data();
}

void ConvLayer::to_channels_last(const Blob& like, const float* plain,
                                 std::vector<float>* to) const {
  to->resize(like.count());
  kernels::eltwise_kernels().to_channels_last(like.count(0, channel_axis_),
                                              like.shape(channel_axis_),
                                              like.count(channel_axis_ + 1), plain, to->data());
}

void ConvLayer::to_plain(const Blob& like, const std::vector<float>& from, bool add,
                         float* plain) const {
  const auto& kernels = kernels::eltwise_kernels();
  const int64_t n = like.count(0, channel_axis_), c = like.shape(channel_axis_);
  const int64_t s = like.count(channel_axis_ + 1);
  if (!add) return kernels.to_plain(n, c, s, from.data(), plain);
  std::vector<float> more(from.size());
  kernels.to_plain(n, c, s, from.data(), more.data());
  kernels.add(like.count(), plain, more.data(), plain);
}

}  // namespace pydl
