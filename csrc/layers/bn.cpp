// BN: batch normalisation with factors and biases of its own (Ioffe & Szegedy 2015,
// arXiv:1502.03167), in the two forms that forks of Caffe gave this name. PSPNet's has running
// statistics; SegNet's takes the batch's in either phase, until bn_mode INFERENCE, when they have
// been made part of its factors and biases.

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

enum class BnMode { kLearn = 0, kInference = 1 };
constexpr std::array<EnumName, 2> enum_names(BnMode) { return {{{"LEARN", 0}, {"INFERENCE", 1}}}; }

struct BnParams {
  std::optional<FillerParams> scale_filler, shift_filler, slope_filler, bias_filler;
  BnMode bn_mode = BnMode::kLearn;
  std::optional<float> momentum, eps, decay, var_eps;
  std::optional<bool> frozen, moving_average;
  Engine engine = Engine::kDefault;

  static auto fields() {
    using P = BnParams;
    return Fields(
        "bn_param",
        Field("scale_filler", &P::scale_filler, "SegNet: start values of the factors; 1 if absent"),
        Field("shift_filler", &P::shift_filler, "SegNet: start values of the biases; 0 if absent"),
        Field("bn_mode", &P::bn_mode,
              "SegNet: LEARN normalises by the batch, INFERENCE not at all"),
        Field("slope_filler", &P::slope_filler, "PSPNet: start values of the factors; 1 if absent"),
        Field("bias_filler", &P::bias_filler, "PSPNet: start values of the biases; 0 if absent"),
        Field("momentum", &P::momentum,
              "PSPNet: weight of the past in the running statistics; 0.9 if absent"),
        Field("eps", &P::eps, "PSPNet: added to the variance; 1e-5 if absent"),
        Field("frozen", &P::frozen,
              "PSPNet: normalise by the running statistics in TRAIN too, and learn nothing"),
        Field("decay", &P::decay, "old name of momentum"),
        Field("var_eps", &P::var_eps, "old name of eps"),
        Field("moving_average", &P::moving_average,
              "old form: false keeps the last batch's statistics"),
        Field("engine", &P::engine, "accepted for Caffe's files; no effect"));
  }

  bool has_running_statistics() const {
    return slope_filler || bias_filler || momentum || eps || frozen || decay || var_eps ||
           moving_average;
  }
};

// bottom: (N, C, ...)   tops: (N, C, ...), and for SegNet's if wanted the batch's mean and variance
// (1, C, 1, 1), through which no gradient passes
// params: factors, biases and for PSPNet's the running mean and variance, all (1, C, 1, 1)
class Bn final : public LayerOf<BnParams>, public ChannelAffine {
 public:
  Arity tops() const override { return {1, runs() ? 1 : 3}; }
  Layouts layouts() const override { return Layouts::kAny; }
  DTypes dtypes() const override { return spec_.top.size() == 1 ? DTypes::kAny : DTypes::kFloat32; }
  // In place the input has to be kept for the backward pass.
  bool in_place() const override { return phase() == Phase::kTest; }

  bool is_affine() const override { return !measures() && spec_.top.size() == 1; }
  void compose(float* a, float* b) const override {
    ChannelNorm norm = norm_;
    LoadStatistics(&norm);
    norm.compose(affine(), a, b);
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const BnParams& p = params_of();
    check(!p.decay || !p.momentum, "give either momentum or decay (its old name), not both");
    check(!p.var_eps || !p.eps, "give either eps or var_eps (its old name), not both");
    check(!runs() || p.bn_mode == BnMode::kLearn, "bn_mode INFERENCE is SegNet's, and does not go ",
          "with the fields of PSPNet's form; leave them out, or bn_mode");
    check(bottom[0]->axes() >= 2, "needs a bottom with a channel axis (2 or more axes), got shape ",
          shape_text(bottom[0]->shape()));
    channels_ = bottom[0]->shape(1);
    norm_.resize(channels_);
    const Shape shape{1, channels_, 1, 1};
    const FillerParams ones = constant(1), zeros = constant(0);
    const FillerParams scale = p.slope_filler ? *p.slope_filler : p.scale_filler.value_or(ones);
    const FillerParams shift = p.bias_filler ? *p.bias_filler : p.shift_filler.value_or(zeros);
    for (const FillerParams* filler : {&scale, &shift}) AddParam(shape, filler);
    if (!runs()) return;
    for (const FillerParams* filler : {&zeros, &ones}) AddParam(shape, filler);
    spec_.param.resize(std::max(spec_.param.size(), params().size()));
    for (size_t i = is_frozen() ? 0 : 2; i < 4; ++i) spec_.param[i].lr_mult = 0;
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() >= 2 && x.shape(1) == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(x.shape()));
    check(!measures() || x.count() > 0, "has nothing to measure in its bottom ",
          shape_text(x.shape()));
    if (top[0] != bottom[0]) top[0]->ReshapeLike(x);
    for (size_t i = 1; i < top.size(); ++i) top[i]->Reshape({1, channels_, 1, 1});
  }

  bool CanFuse(const LayerChain& chain, const Layer& next, bool with_backward) const override {
    if (with_backward && (!measures() || !needs_backward())) return false;
    return chain.empty() && next.is_rectifier() && spec_.top.size() == 1;
  }
  bool fuses_backward() const override { return true; }
  bool can_repeat() const override { return spec_.top.size() == 1; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (measures()) {
      norm_.measure(view(*bottom[0]), bottom[0]->data(format()));
      WriteStatistics(top);
      if (runs()) AddStatistics();
      norm_.set_eps(eps());
    } else {
      LoadStatistics(&norm_);
    }
    if (bottom[0] == top[0] && needs_backward()) {
      x_.keep(bottom[0]->count(), bottom[0]->data(format()));
    }
    Repeat(bottom, top);
  }

  void Repeat(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    norm_.forward(view(*bottom[0]), x, affine(), nullptr, !fused_.empty(),
                  top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const ConstArray x = bottom[0] == top[0] ? x_.get() : bottom[0]->data(format());
    const ConstArray dy = top[0]->diff(format());
    const bool learns = !is_frozen();
    const ChannelNorm::Gradients to = {
        learns && param_propagate(0) ? params()[0]->update_diff() : nullptr,
        learns && param_propagate(1) ? params()[1]->update_diff() : nullptr};
    const bool wanted = down[0] != Propagate::kNo;
    if (!measures()) {
      const Array dx = wanted ? bottom[0]->mutable_diff(format()) : Array();
      return norm_.backward_fixed(view(*bottom[0]), x, affine(), dy, to, dx);
    }
    if (!wanted && !to.scale && !to.bias) return;
    norm_.backward(view(*bottom[0]), x, affine(), !fused_.empty(), nullptr, dy, to,
                   bottom[0]->mutable_diff(format()), nullptr);
  }

 private:
  static FillerParams constant(float value) {
    FillerParams filler;
    filler.value = value;
    return filler;
  }

  bool runs() const { return params_of().has_running_statistics(); }
  bool is_frozen() const { return params_of().frozen.value_or(false); }
  // Whether the statistics are the batch's.
  bool measures() const {
    if (!runs()) return params_of().bn_mode == BnMode::kLearn;
    return phase() == Phase::kTrain && !is_frozen();
  }
  float eps() const {
    const BnParams& p = params_of();
    return runs() ? p.eps.value_or(p.var_eps.value_or(1e-5f)) : 1e-9f;
  }

  ChannelNorm::Affine affine() const { return {params()[0]->data(), params()[1]->data()}; }

  kernels::NormShape view(const Blob& x) const {
    const AxisView v = axis_view(x, 1, layout());
    return {v.outer, v.channels, v.inner};
  }

  void WriteStatistics(const Blobs& top) const {
    for (size_t i = 1; i < top.size(); ++i) {
      const std::vector<float>& values = i == 1 ? norm_.mean : norm_.variance;
      std::copy(values.begin(), values.end(), top[i]->mutable_data());
    }
  }

  // The running ones, or for INFERENCE those that change nothing.
  void LoadStatistics(ChannelNorm* norm) const {
    if (!runs()) {
      std::fill(norm->mean.begin(), norm->mean.end(), 0.f);
      std::fill(norm->inv_std.begin(), norm->inv_std.end(), 1.f);
      return;
    }
    std::copy_n(params()[2]->data(), channels_, norm->mean.begin());
    std::copy_n(params()[3]->data(), channels_, norm->variance.begin());
    norm->set_eps(eps());
  }

  void AddStatistics() {
    const BnParams& p = params_of();
    const float momentum = p.momentum.value_or(p.decay.value_or(0.9f));
    const float keep = p.moving_average.value_or(true) ? momentum : 0;
    float *mean = params()[2]->update_data(), *variance = params()[3]->update_data();
    for (int64_t c = 0; c < channels_; ++c) {
      mean[c] = keep * mean[c] + (1 - keep) * norm_.mean[c];
      variance[c] = keep * variance[c] + (1 - keep) * norm_.variance[c];
    }
  }

  int64_t channels_ = 0;
  ChannelNorm norm_;
  KeptInput x_;
};

PYDL_REGISTER_LAYER("BN", Bn,
                    "Batch normalisation with learned factors and biases. With slope_filler, "
                    "bias_filler, momentum, eps or frozen it is PSPNet's, with running statistics; "
                    "else SegNet's, without.");

}  // namespace pydl
