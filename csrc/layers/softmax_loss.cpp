// SoftmaxWithLoss: the cross entropy of a softmax over scores, with integer labels. These may be
// smoothed in training (Szegedy et al. 2016, arXiv:1512.00567), and classes weighed.

#include <algorithm>
#include <cfloat>

#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "layers/softmax_params.h"
#include "pydl/layer.h"

namespace pydl {

struct SoftmaxLossParams : LossParams {
  float label_smoothing = 0;
  bool weight_by_label_freqs = false;
  std::vector<float> class_weighting;

  static auto fields() {
    using P = SoftmaxLossParams;
    return FieldsAfter<P>(
        LossParams::fields(),
        Field("label_smoothing", &P::label_smoothing,
              "SoftmaxWithLoss, in TRAIN: so much of each label is spread over all classes"),
        Field("weight_by_label_freqs", &P::weight_by_label_freqs,
              "SoftmaxWithLoss: positions weigh what class_weighting says of their label"),
        Field("class_weighting", &P::class_weighting, "a weight for each class"));
  }
};

// bottoms: scores (outer, classes, inner), labels (outer, inner)
// tops: the loss, a scalar; and if wanted the softmax, which passes no gradient on. (Caffe has this
// second top too, but fails to set up a net that asks for it.)
class SoftmaxWithLoss final : public LayerOf<SoftmaxLossParams, SoftmaxParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {1, 2}; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }

  void SetUp(const Blobs&, const Blobs&) override {
    const float smoothing = params_of().label_smoothing;
    check(smoothing >= 0 && smoothing <= 1, "label_smoothing must be from 0 to 1, got ", smoothing);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axis_ = bottom[0]->CanonicalAxis(params_of<SoftmaxParams>().axis);
    check_label_count(*bottom[0], axis_, *bottom[1]);
    CheckWeights(bottom[0]->shape(axis_));
    prob_.ReshapeLike(*bottom[0]);
    top[0]->Reshape({});
    if (top.size() > 1) top[1]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const SoftmaxLossParams& p = params_of();
    check_labels(*bottom[1], bottom[0]->shape(axis_), p.ignore_label);
    const auto& softmax = kernels::softmax_kernels();
    const kernels::SoftmaxShape shape = view(*bottom[0]);
    float* prob = prob_.mutable_data(layout());
    softmax.forward(shape, bottom[0]->data(layout()), prob);
    int64_t valid = 0;
    const double loss = softmax.smoothed_loss(
        shape, prob, bottom[1]->data(), p.ignore_label.has_value(), p.ignore_label.value_or(0),
        class_weights(), smoothing(), FLT_MIN, &valid);
    const int64_t outer = bottom[0]->count(0, axis_), inner = bottom[0]->count(axis_ + 1);
    normalizer_ = normalizer(p.mode(Normalization::kValid), outer, inner, valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) std::copy_n(prob, prob_.count(), top[1]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& ignore_label = params_of().ignore_label;
    check_labels(*bottom[1], bottom[0]->shape(axis_), ignore_label);
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    kernels::softmax_kernels().smoothed_loss_backward(
        view(*bottom[0]), prob_.data(layout()), bottom[1]->data(), ignore_label.has_value(),
        ignore_label.value_or(0), class_weights(), smoothing(), scale,
        bottom[0]->mutable_diff(layout()));
  }

 private:
  // In TEST the loss is that of the labels as they are. NVIDIA's and Intel's Caffe never smooth the
  // loss itself, only its gradient, which then is that of no loss.
  float smoothing() const { return phase() == Phase::kTrain ? params_of().label_smoothing : 0; }

  // Null: all weigh the same.
  const float* class_weights() const {
    return params_of().weight_by_label_freqs ? params_of().class_weighting.data() : nullptr;
  }

  void CheckWeights(int64_t classes) const {
    const SoftmaxLossParams& p = params_of();
    if (!p.weight_by_label_freqs) return;
    check(static_cast<int64_t>(p.class_weighting.size()) == classes, "class_weighting is given ",
          p.class_weighting.size(), " time(s), but the prediction has ", classes, " classes");
  }

  // In either layout the positions come in the labels' plain order.
  kernels::SoftmaxShape view(const Blob& scores) const {
    const AxisView v = axis_view(scores, axis_, layout());
    return {v.outer, v.channels, v.inner};
  }

  int axis_ = 1;
  Blob prob_;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("SoftmaxWithLoss", SoftmaxWithLoss,
                    "Cross entropy of the softmax of scores with integer labels. A second top is "
                    "the softmax itself; no gradient passes through it.");

}  // namespace pydl
