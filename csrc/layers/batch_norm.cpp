// BatchNorm (Ioffe & Szegedy 2015, arXiv:1502.03167). Scale and bias are a Scale layer's in Caffe;
// NVIDIA's and Intel's forks have them here if asked to.

#include <algorithm>

#include "core/check.h"
#include "layers/axis_view.h"
#include "layers/channel_norm.h"
#include "layers/channel_scale.h"
#include "layers/engine.h"
#include "layers/kept_input.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct BatchNormParams {
  std::optional<bool> use_global_stats;
  float moving_average_fraction = 0.999f, eps = 1e-5f;
  std::optional<bool> scale_bias, use_weight_bias, bias_term;
  std::optional<FillerParams> scale_filler, bias_filler, filler;
  uint32_t stats_batch_size = 0;
  Engine engine = Engine::kDefault;

  static auto fields() {
    using P = BatchNormParams;
    return Fields("batch_norm_param",
                  Field("use_global_stats", &P::use_global_stats,
                        "normalise by the running statistics, not the batch's; if absent: in TEST"),
                  Field("moving_average_fraction", &P::moving_average_fraction,
                        "weight of the past in the running sums"),
                  Field("eps", &P::eps, "added to the variance"),
                  Field("scale_bias", &P::scale_bias,
                        "NVIDIA: learn factors and biases, and keep averages, not sums"),
                  Field("scale_filler", &P::scale_filler,
                        "NVIDIA: start values of the factors, which it asks for; 1 if absent"),
                  Field("bias_filler", &P::bias_filler,
                        "start values of the biases, which NVIDIA's asks for so; 0 if absent"),
                  Field("use_weight_bias", &P::use_weight_bias,
                        "Intel: learn factors and biases; where another field of Intel's is given, "
                        "true if absent"),
                  Field("bias_term", &P::bias_term, "Intel: false for factors without biases"),
                  Field("filler", &P::filler, "Intel: start values of the factors; 1 if absent"),
                  Field("stats_batch_size", &P::stats_batch_size,
                        "Intel: so many images at a time are normalised by their own statistics; "
                        "0: the whole batch"),
                  Field("engine", &P::engine, "accepted for Caffe's files; no effect"));
  }

  bool is_intels() const { return use_weight_bias || bias_term || filler; }
  bool is_nvidias() const {
    return scale_bias.value_or(scale_filler || (bias_filler && !is_intels()));
  }
  bool has_scale() const { return is_nvidias() || (is_intels() && use_weight_bias.value_or(true)); }
  bool has_bias() const { return has_scale() && (is_nvidias() || bias_term.value_or(true)); }
};

// bottom, top: (N, C, ...)   params: sums of means (C) and of variances (C), and their weight (1);
// with NVIDIA's fields averages, which the weight does not matter for; factors (C), biases (C)
class BatchNorm final : public LayerOf<BatchNormParams>, public ChannelAffine {
 public:
  Layouts layouts() const override { return Layouts::kAny; }
  // With factors, in place the input would have to be kept for the backward pass.
  bool in_place() const override { return !has_scale() || phase() == Phase::kTest; }
  DTypes dtypes() const override { return DTypes::kAny; }
  // Alone; with factors, own or a chain's, it reads the bottom only.
  TopUse backward_reads_top() const override {
    return use_global_stats() || has_scale() ? TopUse::kNone : TopUse::kData;
  }
  bool backward_reads_bottom(int) const override { return has_scale(); }
  std::vector<int64_t*> state() override {
    return params_of().is_nvidias() ? std::vector<int64_t*>{&passes_} : std::vector<int64_t*>{};
  }

  bool is_affine() const override { return use_global_stats(); }
  void compose(float* a, float* b) const override {
    ChannelNorm norm = norms_[0];
    LoadStatistics(&norm);
    norm.compose(own_affine(), a, b);
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const BatchNormParams& p = params_of();
    check(!p.is_nvidias() || !p.is_intels(), "use_weight_bias, bias_term and filler are Intel's, ",
          "scale_bias and scale_filler NVIDIA's; give only one kind");
    check(!p.is_nvidias() || p.stats_batch_size == 0, "stats_batch_size is Intel's, scale_bias ",
          "and scale_filler NVIDIA's; give only one kind");
    channels_ = view(*bottom[0]).channels;
    for (const Shape& shape : {Shape{channels_}, Shape{channels_}, Shape{1}}) AddParam(shape);
    if (p.is_nvidias()) params()[2]->mutable_data()[0] = 1;
    // Not for the solver to learn.
    spec_.param.resize(std::max(spec_.param.size(), params().size()));
    for (size_t i = 0; i < 3; ++i) spec_.param[i].lr_mult = 0;
    AddAffine();
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(view(*bottom[0]).channels == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(bottom[0]->shape()));
    const int64_t images = bottom[0]->shape(0), group = params_of().stats_batch_size;
    const bool grouped = group > 0 && !use_global_stats();
    check(!grouped || images % group == 0, "stats_batch_size ", group, " does not divide the ",
          images, " images of its bottom");
    norms_.resize(grouped && images > 0 ? images / group : 1);
    for (ChannelNorm& norm : norms_) norm.resize(channels_);
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  // Scale (unless it has factors of its own), the sum with another blob and ReLU, in this order,
  // each if it follows.
  bool CanFuse(const LayerChain& chain, const Layer& next, bool with_backward) const override {
    // Without a backward pass of its own it would not do the chain's, whose parameters may learn.
    if (with_backward && (use_global_stats() || !needs_backward())) return false;
    if (chain.empty() && !has_scale()) {
      const auto* scale = dynamic_cast<const ChannelScale*>(&next);
      return scale && scale->along_channels();
    }
    if (!chain.empty() && chain.back()->is_rectifier()) return false;
    const bool summed = !chain.empty() && chain.back()->is_sum();
    return next.is_rectifier() || (next.is_sum() && !summed);
  }
  bool fuses_backward() const override { return true; }
  // For the signs of a sum.
  bool chain_reads_top(const LayerChain& chain) const override {
    const size_t sum = has_scale() ? 0 : 1;
    return chain.size() > sum + 1 && chain[sum]->is_sum();
  }
  bool can_repeat() const override { return true; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (use_global_stats()) {
      LoadStatistics(&norms_[0]);
    } else {
      const kernels::NormShape shape = GroupView(*bottom[0]);
      const ConstArray x = bottom[0]->data(format());
      ForEachGroup(*bottom[0], [&](ChannelNorm* norm, int64_t begin) {
        norm->measure(shape, x.from(begin));
        AddStatistics(*norm, shape.outer * shape.inner);
        norm->set_eps(eps());
      });
    }
    if (has_scale() && bottom[0] == top[0] && needs_backward()) {
      x_.keep(bottom[0]->count(), bottom[0]->data(format()));
    }
    Repeat(bottom, top);
  }

  // By the statistics that are there.
  void Repeat(const Blobs& bottom, const Blobs& top) override {
    const kernels::NormShape shape = GroupView(*bottom[0]);
    const ConstArray x = bottom[0]->data(format());
    const ConstArray residual = bottom.size() > 1 ? bottom[1]->data(format()) : nullptr;
    const Array y = top[0]->mutable_data(format());
    ForEachGroup(*bottom[0], [&](ChannelNorm* norm, int64_t begin) {
      if (is_alone()) {
        kernels::norm_kernels().normalize(shape, x.from(begin), norm->mean.data(),
                                          norm->inv_std.data(), y.from(begin));
      } else {
        norm->forward(shape, x.from(begin), affine(), part(residual, begin), is_rectified(),
                      y.from(begin));
      }
    });
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (!is_alone()) return BackwardAffine(top, down, bottom);
    if (down[0] == Propagate::kNo) return;
    const kernels::NormShape shape = GroupView(*bottom[0]);
    const ConstArray dy = top[0]->diff(format());
    const Array dx = bottom[0]->mutable_diff(format());
    if (use_global_stats()) return norms_[0].backward_fixed(shape, nullptr, {}, dy, {}, dx);
    const ConstArray y = top[0]->data(format());
    ForEachGroup(*bottom[0], [&](ChannelNorm* norm, int64_t begin) {
      kernels::norm_kernels().backward(shape, y.from(begin), norm->inv_std.data(), dy.from(begin),
                                       dx.from(begin));
    });
  }

 private:
  bool has_scale() const { return params_of().has_scale(); }
  // No factors, neither its own nor a chain's.
  bool is_alone() const { return !has_scale() && fused_.empty(); }
  bool is_rectified() const { return !fused_.empty() && fused_.back()->is_rectifier(); }

  void AddAffine() {
    const BatchNormParams& p = params_of();
    if (!p.has_scale()) return;
    FillerParams ones;
    ones.value = 1;
    const FillerParams of_nvidia = p.scale_filler.value_or(ones),
                       scale = p.filler.value_or(of_nvidia);
    const FillerParams bias = p.bias_filler.value_or(FillerParams());
    AddParam(Shape{channels_}, &scale);
    if (p.has_bias()) AddParam(Shape{channels_}, &bias);
  }

  ChannelNorm::Affine own_affine() const {
    const BatchNormParams& p = params_of();
    return {p.has_scale() ? params()[3]->data() : nullptr,
            p.has_bias() ? params()[4]->data() : nullptr};
  }
  const ChannelScale& scale() const { return dynamic_cast<const ChannelScale&>(*fused_[0]); }
  // Its own, or the chain's.
  ChannelNorm::Affine affine() const {
    if (has_scale()) return own_affine();
    const Blob* bias = scale().bias_blob();
    return {scale().scale_blob()->data(), bias ? bias->data() : nullptr};
  }
  ChannelNorm::Gradients affine_gradients() const {
    if (!has_scale()) return {scale().scale_diff(), scale().bias_diff()};
    const auto diff = [this](size_t i) {
      return i < params().size() && param_propagate(i) ? params()[i]->update_diff() : nullptr;
    };
    return {diff(3), diff(4)};
  }

  void BackwardAffine(const Blobs& top, const Propagates& down, const Blobs& bottom) {
    const kernels::NormShape shape = GroupView(*bottom[0]);
    const ConstArray x = bottom[0] == top[0] ? x_.get() : bottom[0]->data(format());
    const ConstArray dy = top[0]->diff(format());
    const ChannelNorm::Gradients to = affine_gradients();
    const bool wanted = down[0] != Propagate::kNo;
    if (use_global_stats()) {
      const Array dx = wanted ? bottom[0]->mutable_diff(format()) : Array();
      return norms_[0].backward_fixed(shape, x, affine(), dy, to, dx);
    }
    const ConstArray y = chain_reads_top(fused_) ? top[0]->data(format()) : nullptr;
    const bool sum = bottom.size() > 1 && down[1] != Propagate::kNo;
    // The gradient of x is written even if nobody asks for it: that is a net's first layer.
    const Array dx = bottom[0]->mutable_diff(format());
    const Array dresidual = sum ? bottom[1]->mutable_diff(format()) : nullptr;
    ForEachGroup(*bottom[0], [&](ChannelNorm* norm, int64_t begin) {
      norm->backward(shape, x.from(begin), affine(), is_rectified(), part(y, begin), dy.from(begin),
                     to, dx.from(begin), part(dresidual, begin));
    });
  }

  // NVIDIA's looks at the phase alone.
  bool use_global_stats() const {
    const bool in_test = phase() == Phase::kTest;
    return params_of().is_nvidias() ? in_test : params_of().use_global_stats.value_or(in_test);
  }
  float eps() const {
    return params_of().is_nvidias() ? std::max(params_of().eps, 1e-5f) : params_of().eps;
  }

  kernels::NormShape view(const Blob& x) const {
    if (x.axes() == 1) return {x.count(), 1, 1};
    const AxisView v = axis_view(x, 1, layout());
    return {v.outer, v.channels, v.inner};
  }

  // Of the images that have statistics of their own.
  kernels::NormShape GroupView(const Blob& x) const {
    kernels::NormShape shape = view(x);
    shape.outer /= static_cast<int64_t>(norms_.size());
    return shape;
  }
  // body(statistics, first element)
  template <class Body>
  void ForEachGroup(const Blob& x, const Body& body) {
    const int64_t size = x.count() / static_cast<int64_t>(norms_.size());
    for (size_t g = 0; g < norms_.size(); ++g) body(&norms_[g], static_cast<int64_t>(g) * size);
  }
  template <class AnyArray>
  static AnyArray part(AnyArray array, int64_t begin) {
    return array ? array.from(begin) : array;
  }

  float statistics_factor() const {
    const float weight = params()[2]->data()[0];
    if (params_of().is_nvidias()) return 1;
    return weight == 0 ? 0 : 1 / weight;
  }

  void LoadStatistics(ChannelNorm* norm) const {
    const float factor = statistics_factor();
    const float *means = params()[0]->data(), *variances = params()[1]->data();
    for (int64_t c = 0; c < channels_; ++c) {
      norm->mean[c] = factor * means[c];
      norm->variance[c] = factor * variances[c];
    }
    norm->set_eps(eps());
  }

  // n: the number of values per channel, for the unbiased variance.
  void AddStatistics(const ChannelNorm& norm, int64_t n) {
    if (params_of().is_nvidias()) return AddAverages(norm);
    const float keep = params_of().moving_average_fraction;
    const float unbiased = n > 1 ? static_cast<float>(n) / static_cast<float>(n - 1) : 1;
    float *means = params()[0]->update_data(), *variances = params()[1]->update_data();
    float* weight = params()[2]->update_data();
    *weight = keep * *weight + 1;
    for (int64_t c = 0; c < channels_; ++c) {
      means[c] = keep * means[c] + norm.mean[c];
      variances[c] = keep * variances[c] + unbiased * norm.variance[c];
    }
  }

  // As NVIDIA's code for CPUs: the first two passes overwrite, and the variance contains eps.
  void AddAverages(const ChannelNorm& norm) {
    const float keep = passes_++ < 2 ? 0 : params_of().moving_average_fraction;
    float *means = params()[0]->update_data(), *variances = params()[1]->update_data();
    for (int64_t c = 0; c < channels_; ++c) {
      means[c] = keep * means[c] + (1 - keep) * norm.mean[c];
      variances[c] = keep * variances[c] + (1 - keep) * (norm.variance[c] + eps());
    }
  }

  int64_t channels_ = 0;
  std::vector<ChannelNorm> norms_ = std::vector<ChannelNorm>(1);  // one, or of each group of images
  KeptInput x_;
  int64_t passes_ = 0;  // in training
};

PYDL_REGISTER_LAYER("BatchNorm", BatchNorm,
                    "Subtracts the mean of each channel and divides by its deviation: the batch's "
                    "in TRAIN, running ones in TEST. A Scale layer usually follows; with NVIDIA's "
                    "or Intel's fields it has factors and biases of its own.");

}  // namespace pydl
