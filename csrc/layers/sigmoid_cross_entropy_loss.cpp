// SigmoidCrossEntropyLoss: the cross entropy of sigmoids of scores with targets, which may be any
// probabilities; computed from the scores, so that large ones lose nothing.

#include "core/check.h"
#include "kernels/loss.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: scores (N, ...), and as many targets; ignore_label is compared with their integer parts
// top: the loss, a scalar
class SigmoidCrossEntropyLoss final : public LayerOf<LossParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &scores = *bottom[0], &targets = *bottom[1];
    const bool match = scores.axes() >= 1 && targets.axes() >= 1 &&
                       scores.shape(0) == targets.shape(0) && scores.count() == targets.count();
    check(match, "needs a target for each score, got scores ", shape_text(scores.shape()),
          " and targets ", shape_text(targets.shape()));
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const LossParams& p = params_of();
    int64_t valid = 0;
    const double loss = kernels::loss_kernels().sigmoid(
        bottom[0]->count(), bottom[0]->data(), bottom[1]->data(), p.ignore_label.has_value(),
        p.ignore_label.value_or(0), &valid);
    normalizer_ = normalizer(p.mode(Normalization::kBatchSize), bottom[0]->shape(0),
                             bottom[0]->count(1), valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& ignore_label = params_of().ignore_label;
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    kernels::loss_kernels().sigmoid_backward(
        bottom[0]->count(), bottom[0]->data(), bottom[1]->data(), ignore_label.has_value(),
        ignore_label.value_or(0), scale, bottom[0]->mutable_diff());
  }

 private:
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("SigmoidCrossEntropyLoss", SigmoidCrossEntropyLoss,
                    "Cross entropy of the sigmoids of scores with targets from 0 to 1.");

}  // namespace pydl
