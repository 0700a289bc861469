// What Convolution and Deconvolution have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/conv.h"
#include "layers/conv_params.h"
#include "layers/folded_weights.h"
#include "layers/weight_norm.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: (N..., C, in...)   b: (num_output)   tops: (N..., num_output, out...)
// params: the weights, b; with weight_norm v in their place, b, g (layers/weight_norm.h)
// Several bottoms of one shape share the weights. As in Caffe, `axis` says which one is C.
class ConvLayer : public LayerOf<ConvolutionParams> {
 public:
  Arity bottoms() const override { return {1, -1}; }
  Arity tops() const override { return {1, -1}; }
  bool adds_to_diff() const override { return true; }
  bool backward_reads_bottom(int) const override { return learns_weights(); }
  DTypes dtypes() const override { return direct() ? DTypes::kBFloat16 : DTypes::kFloat32; }
  Layouts layouts() const override { return direct() ? Layouts::kChannelsLast : Layouts::kPlain; }
  bool CanFuse(const LayerChain& chain, const Layer& next, bool with_backward) const override;

  void SetUp(const Blobs& bottom, const Blobs& top) override;
  void Reshape(const Blobs& bottom, const Blobs& top) override;
  void Forward(const Blobs& bottom, const Blobs& top) override;
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override;

  double flops(const Blobs& bottom, const Blobs& top) const override;
  std::string implementation() const override { return conv_ ? conv_->name() : ""; }

 protected:
  // The convolution that the kernel is made for, whose weights are the layer's: its channels and
  // input, for bottoms of so many channels and that size.
  virtual void set_sizes(int64_t channels, const std::vector<int64_t>& in,
                         kernels::ConvShape* problem) const = 0;
  virtual std::vector<int64_t> out(const kernels::ConvShape& problem) const = 0;
  virtual std::unique_ptr<kernels::Conv> make_kernel(const kernels::ConvShape& problem) const = 0;
  virtual FoldedWeights::Order weights_order(const kernels::ConvShape& problem) const = 0;

  struct Outputs {
    int64_t channels;  // of a top
    int64_t group;
  };
  // For bottoms of so many channels.
  virtual Outputs read_outputs(int64_t channels) const;

  int64_t num_output() const { return outputs_.channels; }
  const Window& window() const { return window_; }

 private:
  kernels::ConvShape problem_of(const Blob& bottom) const;
  void choose_kernel(const kernels::ConvShape& problem);
  void refresh_kernel(const Blob& bottom);
  bool learns() const { return phase() == Phase::kTrain && learns_weights(); }
  bool learns_weights() const {
    return param_propagate(0) || (params_of().weight_norm && param_propagate(length_index()));
  }
  size_t length_index() const { return params_of().bias_term ? 2 : 1; }  // of g
  const Blob& weights();
  float* weights_diff();
  void norm_gradients();
  const float* fold_weights(const float** bias);
  void propagate_down(ConstArray dy, bool add, Blob* bottom);

  bool direct() const { return channel_axis_ == 1; }
  ConstArray input(const Blob& bottom);
  ConstArray gradient(const Blob& top);
  void to_channels_last(const Blob& like, const float* plain, std::vector<float>* to) const;
  void to_plain(const Blob& like, const std::vector<float>& from, bool add, float* plain) const;

  int channel_axis_ = 1, axes_ = 2;
  int64_t channels_ = 0;  // of a bottom
  Outputs outputs_{};
  Window window_;
  kernels::ConvShape problem_;
  std::unique_ptr<kernels::Conv> conv_;
  kernels::Isa isa_ = kernels::Isa::kRef;
  WeightsCache cache_;
  FoldedWeights folded_;
  WeightNorm norm_;
  bool folds_ = false;        // the last Forward used folded_
  std::vector<float> x_, y_;  // only where the channel is not axis 1
};

}  // namespace pydl
