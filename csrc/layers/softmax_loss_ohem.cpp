// SoftmaxWithLossOHEM: SoftmaxWithLoss with the loss of each label as a third top, by which R-FCN
// chooses hard examples (Dai et al. 2016, arXiv:1605.06409).

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "core/check.h"
#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/ohem_loss_params.h"
#include "layers/softmax_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: scores (N, C, ...), labels, one per position
// tops: the loss, a scalar; the softmax; the loss of each position (N, 1, ...)
class SoftmaxWithLossOhem final : public LayerOf<OhemLossParams, SoftmaxParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {1, 3}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axis_ = bottom[0]->CanonicalAxis(params_of<SoftmaxParams>().axis);
    check_label_count(*bottom[0], axis_, *bottom[1]);
    prob_.ReshapeLike(*bottom[0]);
    top[0]->Reshape({});
    if (top.size() > 1) top[1]->ReshapeLike(*bottom[0]);
    Shape each = bottom[0]->shape();
    each[axis_] = 1;
    if (top.size() > 2) top[2]->Reshape(each);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of<OhemLossParams>();
    const AxisView v = axis_view(*bottom[0], axis_, Layout::kPlain);
    check_labels(*bottom[1], v.channels, p.ignore_label);
    const float* label = bottom[1]->data();
    float* prob = prob_.mutable_data();
    kernels::softmax_kernels().forward({v.outer, v.channels, v.inner}, bottom[0]->data(), prob);
    float* each = top.size() > 2 ? top[2]->mutable_data() : nullptr;
    double loss = 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < v.outer * v.inner; ++i) {
      float own = 0;
      if (!is_ignored(label[i], p.ignore_label)) {
        const int64_t at = (i / v.inner * v.channels + static_cast<int64_t>(label[i])) * v.inner;
        own = -std::log(std::max(prob[at + i % v.inner], FLT_MIN));
        ++valid;
      }
      if (each) each[i] = own;
      loss += own;
    }
    normalizer_ = p.normalizer(OhemNormalization::kValid, v.outer, v.inner, valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) std::copy_n(prob, prob_.count(), top[1]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& ignore_label = params_of<OhemLossParams>().ignore_label;
    const AxisView v = axis_view(*bottom[0], axis_, Layout::kPlain);
    check_labels(*bottom[1], v.channels, ignore_label);
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    float* dx = bottom[0]->mutable_diff();
    // By the loss of each position first, then scaled: a position's weight is its own.
    kernels::softmax_kernels().loss_backward({v.outer, v.channels, v.inner}, prob_.data(),
                                             bottom[1]->data(), ignore_label.has_value(),
                                             ignore_label.value_or(0), 1, dx);
    const float* each = top.size() > 2 ? top[2]->diff() : nullptr;
    for (int64_t i = 0; i < bottom[0]->count(); ++i) {
      const int64_t position = i / (v.channels * v.inner) * v.inner + i % v.inner;
      dx[i] *= scale + (each ? each[position] : 0);
    }
  }

 private:
  int axis_ = 1;
  Blob prob_;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("SoftmaxWithLossOHEM", SoftmaxWithLossOhem,
                    "SoftmaxWithLoss with the loss of each position as a third top. The second is "
                    "the softmax; no gradient passes through that one.");

}  // namespace pydl
