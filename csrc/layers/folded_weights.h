#pragma once

#include <vector>

#include "layers/channel_scale.h"
#include "layers/weights_cache.h"

namespace pydl {

// Weights (groups, rows, C / groups, ...) and biases (C) of C output channels that do the
// channel-affine layers of a chain as well: a BatchNorm by running statistics, a Scale, a Bias.
// Made again when any of their blobs changed.
class FoldedWeights {
 public:
  struct Order {
    int64_t channels, groups, rows;
  };

  static bool accepts(const Layer& layer) {
    const auto* affine = dynamic_cast<const ChannelAffine*>(&layer);
    return affine && affine->is_affine();
  }

  // False: the chain has none of them, so that the layer's own are to be used.
  bool fold(const LayerChain& chain, const Order& order, const Blob& weights, const Blob* bias) {
    affine_.clear();
    if (chain.empty()) return false;
    std::vector<const Blob*> blobs{&weights};
    if (bias) blobs.push_back(bias);
    for (const Layer* layer : chain) {
      if (!accepts(*layer)) continue;
      affine_.push_back(dynamic_cast<const ChannelAffine*>(layer));
      for (const auto& blob : layer->params()) blobs.push_back(blob.get());
    }
    if (affine_.empty()) return false;
    caches_.resize(blobs.size());
    changed_ = false;
    for (size_t i = 0; i < blobs.size(); ++i) changed_ |= caches_[i].stale(*blobs[i]);
    if (changed_) make(order, weights, bias);
    return true;
  }

  bool changed() const { return changed_; }  // by the last fold
  const float* weights() const { return weights_.data(); }
  const float* bias() const { return bias_.data(); }

 private:
  void make(const Order& order, const Blob& weights, const Blob* bias) {
    const int64_t channels = order.channels, in_group = channels / order.groups;
    const int64_t size = weights.count() / (order.rows * channels);
    std::vector<float> factor(channels, 1);
    bias_.assign(channels, 0);
    if (bias) bias_.assign(bias->data(), bias->data() + channels);
    for (const ChannelAffine* layer : affine_) layer->compose(factor.data(), bias_.data());
    const float* w = weights.data();
    weights_.resize(weights.count());
    for (int64_t row = 0; row < order.groups * order.rows; ++row) {
      for (int64_t c = 0; c < in_group; ++c) {
        const int64_t begin = (row * in_group + c) * size;
        const float by = factor[row / order.rows * in_group + c];
        for (int64_t i = begin; i < begin + size; ++i) weights_[i] = by * w[i];
      }
    }
  }

  std::vector<const ChannelAffine*> affine_;
  std::vector<WeightsCache> caches_;
  std::vector<float> weights_, bias_;
  bool changed_ = false;
};

}  // namespace pydl
