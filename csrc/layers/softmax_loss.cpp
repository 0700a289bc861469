// SoftmaxWithLoss: the cross entropy of a softmax over scores, with integer labels.

#include <algorithm>
#include <cfloat>

#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "layers/softmax_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: scores (outer, classes, inner), labels (outer, inner)
// tops: the loss, a scalar; and if wanted the softmax, which passes no gradient on. (Caffe has this
// second top too, but fails to set up a net that asks for it.)
class SoftmaxWithLoss final : public LayerOf<LossParams, SoftmaxParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {1, 2}; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axis_ = bottom[0]->CanonicalAxis(params_of<SoftmaxParams>().axis);
    check_label_count(*bottom[0], axis_, *bottom[1]);
    prob_.ReshapeLike(*bottom[0]);
    top[0]->Reshape({});
    if (top.size() > 1) top[1]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const LossParams& p = params_of<LossParams>();
    check_labels(*bottom[1], bottom[0]->shape(axis_), p.ignore_label);
    const auto& softmax = kernels::softmax_kernels();
    const kernels::SoftmaxShape shape = view(*bottom[0]);
    float* prob = prob_.mutable_data(layout());
    softmax.forward(shape, bottom[0]->data(layout()), prob);
    int64_t valid = 0;
    const double loss = softmax.loss(shape, prob, bottom[1]->data(), p.ignore_label.has_value(),
                                     p.ignore_label.value_or(0), FLT_MIN, &valid);
    const int64_t outer = bottom[0]->count(0, axis_), inner = bottom[0]->count(axis_ + 1);
    normalizer_ = normalizer(p.mode(Normalization::kValid), outer, inner, valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) std::copy_n(prob, prob_.count(), top[1]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& ignore_label = params_of<LossParams>().ignore_label;
    check_labels(*bottom[1], bottom[0]->shape(axis_), ignore_label);
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    kernels::softmax_kernels().loss_backward(
        view(*bottom[0]), prob_.data(layout()), bottom[1]->data(), ignore_label.has_value(),
        ignore_label.value_or(0), scale, bottom[0]->mutable_diff(layout()));
  }

 private:
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
