// BatchNorm (Ioffe & Szegedy 2015, arXiv:1502.03167), without scale and bias, which are a Scale
// layer's in Caffe.

#include <algorithm>
#include <cmath>

#include "kernels/eltwise.h"
#include "kernels/norm.h"
#include "layers/axis_view.h"
#include "layers/channel_scale.h"
#include "pydl/layer.h"

namespace pydl {

struct BatchNormParams {
  std::optional<bool> use_global_stats;
  float moving_average_fraction = 0.999f, eps = 1e-5f;

  static auto fields() {
    using P = BatchNormParams;
    return Fields("batch_norm_param",
                  Field("use_global_stats", &P::use_global_stats,
                        "normalise by the running statistics, not the batch's; if absent: in TEST"),
                  Field("moving_average_fraction", &P::moving_average_fraction,
                        "weight of the past in the running sums"),
                  Field("eps", &P::eps, "added to the variance"));
  }
};

// bottom, top: (N, C, ...)   params: sums of means (C) and of variances (C), and their weight (1)
class BatchNorm final : public LayerOf<BatchNormParams>, public ChannelAffine {
 public:
  Layouts layouts() const override { return Layouts::kAny; }
  bool in_place() const override { return true; }
  DTypes dtypes() const override { return DTypes::kAny; }
  TopUse backward_reads_top() const override {
    return use_global_stats() ? TopUse::kNone : TopUse::kData;
  }

  // Alone; with a chain it reads the bottom only.
  bool backward_reads_bottom(int) const override { return false; }

  bool is_affine() const override { return use_global_stats(); }
  void compose(float* a, float* b) const override {
    const float factor = statistics_factor();
    const float *means = params()[0]->data(), *variances = params()[1]->data();
    for (int64_t c = 0; c < channels_; ++c) {
      const float inv_std = 1 / std::sqrt(factor * variances[c] + params_of().eps);
      a[c] *= inv_std;
      b[c] = (b[c] - factor * means[c]) * inv_std;
    }
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    channels_ = view(*bottom[0]).channels;
    for (const Shape& shape : {Shape{channels_}, Shape{channels_}, Shape{1}}) AddParam(shape);
    // Not for the solver to learn.
    spec_.param.resize(std::max(spec_.param.size(), params().size()));
    for (ParamSpec& param : spec_.param) param.lr_mult = 0;
    mean_.resize(channels_), variance_.resize(channels_), inv_std_.resize(channels_);
    zeros_.assign(channels_, 0);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(view(*bottom[0]).channels == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(bottom[0]->shape()));
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  // Scale, the sum with another blob and ReLU, in this order, each if it follows.
  bool CanFuse(const LayerChain& chain, const Layer& next, bool with_backward) const override {
    // Without a backward pass of its own it would not do the chain's, whose parameters may learn.
    if (with_backward && (use_global_stats() || !needs_backward())) return false;
    if (chain.empty()) {
      const auto* scale = dynamic_cast<const ChannelScale*>(&next);
      return scale && scale->along_channels();
    }
    if (chain.back()->is_rectifier()) return false;
    return next.is_rectifier() || (next.is_sum() && !chain.back()->is_sum());
  }
  bool fuses_backward() const override { return true; }
  // For the signs of a sum.
  bool chain_reads_top(const LayerChain& chain) const override {
    return chain.size() > 2 && chain[1]->is_sum();
  }
  bool can_repeat() const override { return true; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const kernels::NormShape shape = view(*bottom[0]);
    if (use_global_stats()) {
      LoadStatistics();
    } else {
      kernels::norm_kernels().statistics(shape, bottom[0]->data(format()), mean_.data(),
                                         variance_.data());
      AddStatistics(shape.outer * shape.inner);
    }
    for (int64_t c = 0; c < channels_; ++c) {
      inv_std_[c] = 1 / std::sqrt(variance_[c] + params_of().eps);
    }
    Repeat(bottom, top);
  }

  // By the statistics that are there.
  void Repeat(const Blobs& bottom, const Blobs& top) override {
    const kernels::NormShape shape = view(*bottom[0]);
    const ConstArray x = bottom[0]->data(format());
    const ConstArray residual = bottom.size() > 1 ? bottom[1]->data(format()) : nullptr;
    const Array y = top[0]->mutable_data(format());
    if (fused_.empty()) {
      return kernels::norm_kernels().normalize(shape, x, mean_.data(), inv_std_.data(), y);
    }
    kernels::norm_kernels().forward_fused(shape, x, mean_.data(), inv_std_.data(),
                                          scale().scale_blob()->data(), bias(), residual,
                                          fused_.back()->is_rectifier(), y);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const kernels::NormShape shape = view(*bottom[0]);
    const ConstArray dy = top[0]->diff(format());
    if (!fused_.empty()) return BackwardFused(shape, top, down, bottom);
    if (down[0] == Propagate::kNo) return;
    const Array dx = bottom[0]->mutable_diff(format());
    if (use_global_stats()) {
      kernels::eltwise_kernels().affine_forward(shape.outer, shape.channels, shape.inner, dy,
                                                inv_std_.data(), nullptr, dx);
    } else {
      kernels::norm_kernels().backward(shape, top[0]->data(format()), inv_std_.data(), dy, dx);
    }
  }

 private:
  const ChannelScale& scale() const { return dynamic_cast<const ChannelScale&>(*fused_[0]); }
  const float* bias() const {
    const Blob* blob = scale().bias_blob();
    return blob ? blob->data() : zeros_.data();
  }

  // The gradient of x is written even if nobody asks for it: that is a net's first layer.
  void BackwardFused(const kernels::NormShape& shape, const Blobs& top, const Propagates& down,
                     const Blobs& bottom) {
    const ConstArray x = bottom[0]->data(format()), dy = top[0]->diff(format());
    const ConstArray y = chain_reads_top(fused_) ? top[0]->data(format()) : nullptr;
    const bool sum = bottom.size() > 1 && down[1] != Propagate::kNo;
    const Array dresidual = sum ? bottom[1]->mutable_diff(format()) : nullptr;
    std::vector<float> unused(2 * channels_);  // gradients of what is not learned
    float *dscale = scale().scale_diff(), *dbias = scale().bias_diff();
    kernels::norm_kernels().backward_fused(
        shape, x, mean_.data(), inv_std_.data(), scale().scale_blob()->data(), bias(),
        fused_.back()->is_rectifier(), y, dy, dscale ? dscale : unused.data(),
        dbias ? dbias : unused.data() + channels_, bottom[0]->mutable_diff(format()), dresidual);
  }

  bool use_global_stats() const {
    return params_of().use_global_stats.value_or(phase() == Phase::kTest);
  }

  kernels::NormShape view(const Blob& x) const {
    if (x.axes() == 1) return {x.count(), 1, 1};
    const AxisView v = axis_view(x, 1, layout());
    return {v.outer, v.channels, v.inner};
  }

  float statistics_factor() const {
    const float weight = params()[2]->data()[0];
    return weight == 0 ? 0 : 1 / weight;
  }

  void LoadStatistics() {
    const float factor = statistics_factor();
    const float *means = params()[0]->data(), *variances = params()[1]->data();
    for (int64_t c = 0; c < channels_; ++c) {
      mean_[c] = factor * means[c];
      variance_[c] = factor * variances[c];
    }
  }

  // n: the number of values per channel, for the unbiased variance.
  void AddStatistics(int64_t n) {
    const float keep = params_of().moving_average_fraction;
    const float unbiased = n > 1 ? static_cast<float>(n) / static_cast<float>(n - 1) : 1;
    float *means = params()[0]->update_data(), *variances = params()[1]->update_data();
    float* weight = params()[2]->update_data();
    *weight = keep * *weight + 1;
    for (int64_t c = 0; c < channels_; ++c) {
      means[c] = keep * means[c] + mean_[c];
      variances[c] = keep * variances[c] + unbiased * variance_[c];
    }
  }

  int64_t channels_ = 0;
  std::vector<float> mean_, variance_, inv_std_;
  std::vector<float> zeros_;
};

PYDL_REGISTER_LAYER("BatchNorm", BatchNorm,
                    "Subtracts the mean of each channel and divides by its deviation: the batch's "
                    "in TRAIN, running ones in TEST. A Scale layer usually follows.");

}  // namespace pydl
