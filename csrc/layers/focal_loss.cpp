// FocalLoss: cross entropy that makes little of what is classified well already (Lin et al. 2017,
// arXiv:1708.02002).
//
//   SIGMOID: -a (1 - p)^gamma log(p), p the probability of the target: alpha a for 1, 1 - alpha for
//   0 SOFTMAX: -alpha (1 - p)^gamma log(p), p that of the label

#include <cfloat>

#include "kernels/loss.h"
#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "layers/sample_weights.h"

namespace pydl {

enum class FocalForm { kSigmoid = 0, kSoftmax = 1 };
constexpr std::array<EnumName, 2> enum_names(FocalForm) {
  return {{{"SIGMOID", 0}, {"SOFTMAX", 1}}};
}

struct FocalLossParams {
  FocalForm type = FocalForm::kSigmoid;
  float alpha = 0.25f, gamma = 2;
  int32_t axis = 1;

  static auto fields() {
    using P = FocalLossParams;
    return Fields("focal_loss_param",
                  Field("type", &P::type,
                        "SIGMOID: a target from 0 to 1 for each score; SOFTMAX: a label for each "
                        "position"),
                  Field("alpha", &P::alpha,
                        "weight of targets 1, 1 - alpha that of 0; SOFTMAX: of all; negative: no "
                        "weights"),
                  Field("gamma", &P::gamma, "exponent of 1 - p; 0: cross entropy"),
                  Field("axis", &P::axis, "SOFTMAX: the axis of the classes"));
  }
};

// bottoms: scores (outer, classes, inner); labels (outer, inner), or as many targets as scores; and
// weights, of samples (N) or of each label or target
// top: the loss, a scalar
class FocalLoss final : public LayerOf<FocalLossParams, LossParams> {
 public:
  Arity bottoms() const override { return {2, 3}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().gamma >= 0, "gamma must not be negative, got ", params_of().gamma);
    check(params_of().alpha <= 1, "alpha must be at most 1, got ", params_of().alpha);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &scores = *bottom[0], &targets = *bottom[1];
    check(scores.axes() >= 1, "needs scores with a batch axis, got a scalar");
    if (is_softmax()) {
      axis_ = scores.CanonicalAxis(params_of().axis);
      check(axis_ > 0, "the classes cannot lie along axis 0, that of the batch");
      check_label_count(scores, axis_, targets);
      prob_.ReshapeLike(scores);
    } else {
      check(scores.count() == targets.count(), "needs a target for each score, got scores ",
            shape_text(scores.shape()), " and targets ", shape_text(targets.shape()));
    }
    if (bottom.size() > 2) {
      const int64_t given = bottom[2]->count();
      check(given == scores.shape(0) || given == targets.count(), "needs a weight for each of the ",
            scores.shape(0), " samples, or for each of the targets ", shape_text(targets.shape()),
            ", but the weights are ", shape_text(bottom[2]->shape()));
    }
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t targets = bottom[1]->count();
    const float* weights = MakeWeights(bottom);
    const Normalization usual = is_softmax() ? Normalization::kValid : Normalization::kBatchSize;
    const Normalization mode = params_of<LossParams>().mode(usual);
    const int64_t rows = bottom[0]->shape(0), size = rows > 0 ? targets / rows : 0;
    normalizer_ = normalizer(mode, rows, size, count_weighted(targets, weights));
    const double sum = is_softmax() ? SoftmaxSum(bottom, weights) : SigmoidSum(bottom, weights);
    top[0]->mutable_data()[0] = static_cast<float>(sum / normalizer_);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    const FocalLossParams& p = params_of();
    float* dx = bottom[0]->mutable_diff();
    if (!is_softmax()) {
      return kernels::loss_kernels().focal_backward(bottom[0]->count(), bottom[0]->data(),
                                                    bottom[1]->data(), MakeWeights(bottom), p.alpha,
                                                    p.gamma, scale, dx);
    }
    check_labels(*bottom[1], bottom[0]->shape(axis_), ignore_label());
    kernels::softmax_kernels().weighted_backward(
        shape(*bottom[0]), prob_.data(), bottom[1]->data(), ignore_label().has_value(),
        ignore_label().value_or(0), slopes_.data(), balance() * scale, dx);
  }

 private:
  bool is_softmax() const { return params_of().type == FocalForm::kSoftmax; }
  const std::optional<int32_t>& ignore_label() const {
    return params_of<LossParams>().ignore_label;
  }
  float balance() const { return params_of().alpha < 0 ? 1 : params_of().alpha; }
  kernels::SoftmaxShape shape(const Blob& scores) const {
    return {scores.count(0, axis_), scores.shape(axis_), scores.count(axis_ + 1)};
  }

  // Of each target, 0 where it is ignored; null: all 1.
  const float* MakeWeights(const Blobs& bottom) {
    const int64_t targets = bottom[1]->count(), rows = bottom[0]->shape(0);
    if (bottom.size() < 3 && !ignore_label() && !is_softmax()) return nullptr;
    const float* given = nullptr;
    if (bottom.size() > 2) given = expanded_.of(*bottom[2], rows, rows > 0 ? targets / rows : 0);
    weights_.assign(targets, 1);
    if (given) std::copy_n(given, targets, weights_.data());
    const float* label = bottom[1]->data();
    for (int64_t i = 0; ignore_label() && i < targets; ++i) {
      if (is_ignored(label[i], ignore_label())) weights_[i] = 0;
    }
    return weights_.data();
  }

  double SigmoidSum(const Blobs& bottom, const float* weights) const {
    return kernels::loss_kernels().focal(bottom[0]->count(), bottom[0]->data(), bottom[1]->data(),
                                         weights, params_of().alpha, params_of().gamma);
  }

  double SoftmaxSum(const Blobs& bottom, const float* weights) {
    check_labels(*bottom[1], bottom[0]->shape(axis_), ignore_label());
    const auto& softmax = kernels::softmax_kernels();
    const int64_t targets = bottom[1]->count();
    picked_.resize(targets);
    slopes_.resize(targets);
    softmax.forward(shape(*bottom[0]), bottom[0]->data(), prob_.mutable_data());
    softmax.pick(shape(*bottom[0]), prob_.data(), bottom[1]->data(), ignore_label().has_value(),
                 ignore_label().value_or(0), picked_.data());
    return balance() * kernels::loss_kernels().focal_of_label(targets, picked_.data(), weights,
                                                              params_of().gamma, FLT_MIN,
                                                              slopes_.data());
  }

  int axis_ = 1;
  Blob prob_;
  SampleWeights expanded_;
  std::vector<float> weights_, picked_, slopes_;  // of each target
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("FocalLoss", FocalLoss,
                    "Cross entropy of sigmoids with targets, or of a softmax with labels, times (1 "
                    "- p)^gamma: what is classified well counts little. Averaged as "
                    "SigmoidCrossEntropyLoss and SoftmaxWithLoss are; a third bottom weighs "
                    "samples or targets.");

}  // namespace pydl
