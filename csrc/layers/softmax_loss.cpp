// SoftmaxWithLoss: the cross entropy of a softmax over scores, with integer labels or with the
// probabilities of the classes. Labels may be smoothed in training (Szegedy et al. 2016,
// arXiv:1512.00567), and classes and samples weighed.
//
//   loss = the sum of w_class w_sample (-log p[label]) over valid positions / their number
//
// or another number that loss_param names. Positions with a weight of 0 are not valid, nor are
// those that are ignored: weights that are 0 or 1 choose, as a mask does.

#include <algorithm>
#include <cfloat>

#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "layers/sample_weights.h"
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

// bottoms: scores (outer, classes, inner), labels (outer, inner), and weights: one for each sample
// (axis 0) or one for each label; or scores and probabilities of their own shape, as in PyTorch
// tops: the loss, a scalar; and if wanted the softmax, which passes no gradient on. (Caffe has this
// second top too, but fails to set up a net that asks for it.)
class SoftmaxWithLoss final : public LayerOf<SoftmaxLossParams, SoftmaxParams> {
 public:
  Arity bottoms() const override { return {2, 3}; }
  Arity tops() const override { return {1, 2}; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int bottom) const override { return bottom > 0; }

  void SetUp(const Blobs&, const Blobs&) override {
    const float smoothing = params_of().label_smoothing;
    check(smoothing >= 0 && smoothing <= 1, "label_smoothing must be from 0 to 1, got ", smoothing);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axis_ = bottom[0]->CanonicalAxis(params_of<SoftmaxParams>().axis);
    is_soft_ = are_probabilities(*bottom[0], axis_, *bottom[1]);
    is_soft_ ? CheckSoft() : check_label_count(*bottom[0], axis_, *bottom[1]);
    if (bottom.size() > 2) CheckSampleWeights(*bottom[0], *bottom[1], *bottom[2]);
    CheckWeights(bottom[0]->shape(axis_));
    prob_.ReshapeLike(*bottom[0]);
    top[0]->Reshape({});
    if (top.size() > 1) top[1]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const SoftmaxLossParams& p = params_of();
    CheckLabels(bottom);
    const auto& softmax = kernels::softmax_kernels();
    const kernels::SoftmaxShape shape = view(*bottom[0]);
    float* prob = prob_.mutable_data(layout());
    softmax.forward(shape, bottom[0]->data(layout()), prob);
    const int64_t outer = bottom[0]->count(0, axis_), inner = bottom[0]->count(axis_ + 1);
    int64_t valid = outer * inner;
    const double loss =
        is_soft_ ? softmax.soft_loss(shape, prob, bottom[1]->data(layout()), smoothing(), FLT_MIN)
                 : softmax.smoothed_loss(shape, prob, bottom[1]->data(), p.ignore_label.has_value(),
                                         p.ignore_label.value_or(0), class_weights(),
                                         SampleWeightsOf(bottom), smoothing(), FLT_MIN, &valid);
    normalizer_ = normalizer(p.mode(Normalization::kValid), outer, inner, valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) std::copy_n(prob, prob_.count(), top[1]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& ignore_label = params_of().ignore_label;
    CheckLabels(bottom);
    const auto& softmax = kernels::softmax_kernels();
    const kernels::SoftmaxShape shape = view(*bottom[0]);
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    const float* prob = prob_.data(layout());
    float* dx = bottom[0]->mutable_diff(layout());
    if (is_soft_) {
      return softmax.soft_loss_backward(shape, prob, bottom[1]->data(layout()), smoothing(), scale,
                                        dx);
    }
    softmax.smoothed_loss_backward(shape, prob, bottom[1]->data(), ignore_label.has_value(),
                                   ignore_label.value_or(0), class_weights(),
                                   SampleWeightsOf(bottom), smoothing(), scale, dx);
  }

 private:
  // In TEST the loss is that of the labels as they are. NVIDIA's and Intel's Caffe never smooth the
  // loss itself, only its gradient, which then is that of no loss.
  float smoothing() const { return phase() == Phase::kTrain ? params_of().label_smoothing : 0; }

  // Null: all weigh the same.
  const float* class_weights() const {
    return params_of().weight_by_label_freqs ? params_of().class_weighting.data() : nullptr;
  }

  void CheckSoft() const {
    const bool weighs = params_of().weight_by_label_freqs || spec().bottom.size() > 2;
    check(
        !params_of().ignore_label && !weighs,
        "ignore_label, weight_by_label_freqs and a bottom of weights are for integer labels, but ",
        "its labels are probabilities: they have the shape of the scores");
  }

  void CheckLabels(const Blobs& bottom) const {
    is_soft_ ? check_probabilities(*bottom[1], layout())
             : check_labels(*bottom[1], bottom[0]->shape(axis_), params_of().ignore_label);
  }

  void CheckWeights(int64_t classes) const {
    const SoftmaxLossParams& p = params_of();
    if (!p.weight_by_label_freqs) return;
    check(static_cast<int64_t>(p.class_weighting.size()) == classes, "class_weighting is given ",
          p.class_weighting.size(), " time(s), but the prediction has ", classes, " classes");
  }

  static void CheckSampleWeights(const Blob& scores, const Blob& labels, const Blob& weights) {
    const int64_t samples = scores.axes() > 0 ? scores.shape(0) : 1;
    check(weights.count() == samples || weights.count() == labels.count(),
          "needs a weight for each of the ", samples, " samples, or for each of the ",
          labels.count(), " labels, but the weights are ", shape_text(weights.shape()));
  }

  // One for each label, or null.
  const float* SampleWeightsOf(const Blobs& bottom) {
    if (bottom.size() < 3) return nullptr;
    const int64_t labels = bottom[1]->count();
    const int64_t samples = std::max<int64_t>(bottom[0]->axes() > 0 ? bottom[0]->shape(0) : 1, 1);
    return sample_weights_.of(*bottom[2], samples, labels / samples);
  }

  // In either layout the positions come in the labels' plain order.
  kernels::SoftmaxShape view(const Blob& scores) const {
    const AxisView v = axis_view(scores, axis_, layout());
    return {v.outer, v.channels, v.inner};
  }

  int axis_ = 1;
  bool is_soft_ = false;  // labels are probabilities
  Blob prob_;
  SampleWeights sample_weights_;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("SoftmaxWithLoss", SoftmaxWithLoss,
                    "Cross entropy of the softmax of scores with integer labels, or with labels of "
                    "the scores' shape, the probabilities of the classes. A second top is the "
                    "softmax itself; no gradient passes through it. A third bottom weighs samples "
                    "or positions with integer labels: the loss is the sum of weight times cross "
                    "entropy over the number of positions (of those that are neither ignored nor "
                    "of weight 0; normalization: FULL counts all, NONE gives the sum).");

}  // namespace pydl
