// SmoothL1LossOHEM: the loss of box regression with the loss of each region as a second top, by
// which R-FCN chooses hard examples (Dai et al. 2016, arXiv:1605.06409). Each difference d counts
// d^2 / 2 up to 1, |d| - 1/2 beyond.

#include <cmath>

#include "core/check.h"
#include "kernels/loss.h"
#include "layers/ohem_loss_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: (N, C, ...), as many values, and weights of the differences if given
// tops: the loss, a scalar; that of each item and place (N, 1, H, W)
class SmoothL1LossOhem final : public LayerOf<OhemLossParams> {
 public:
  Arity bottoms() const override { return {2, 3}; }
  Arity tops() const override { return {1, 2}; }
  bool is_loss() const override { return true; }
  bool can_propagate(int bottom) const override { return bottom < 2; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() >= 2 && x.axes() <= 4, "compares blobs (N, C), (N, C, H) or (N, C, H, W), got ",
          shape_text(x.shape()));
    for (const Blob* other : bottom) {
      check(other->axes() >= 1 && other->shape(0) == x.shape(0) && other->count() == x.count(),
            "all bottoms must have the same size, got ", shape_text(x.shape()), " and ",
            shape_text(other->shape()));
    }
    inner_ = x.count(2);
    top[0]->Reshape({});
    if (top.size() > 1) {
      top[1]->Reshape(
          {x.shape(0), 1, x.axes() > 2 ? x.shape(2) : 1, x.axes() > 3 ? x.shape(3) : 1});
    }
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t places = bottom[0]->shape(0) * inner_;
    const double loss = kernels::loss_kernels().smooth_l1(
        bottom[0]->count(), bottom[0]->data(), bottom[1]->data(), Weights(bottom), nullptr, 1);
    normalizer_ =
        params_of().normalizer(OhemNormalization::kBatchSize, bottom[0]->shape(0), inner_, places);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) WriteEach(bottom, top[1]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    const float* each = top.size() > 1 ? top[1]->diff() : nullptr;
    for (int b = 0; b < 2; ++b) {
      if (down[b] == Propagate::kNo) continue;
      float* dx = bottom[b]->mutable_diff();
      kernels::loss_kernels().smooth_l1_backward(bottom[0]->count(), bottom[b]->data(),
                                                 bottom[1 - b]->data(), Weights(bottom), nullptr, 1,
                                                 each ? 1 : scale, dx);
      if (!each) continue;
      const int64_t item = bottom[0]->count(1);  // values
      for (int64_t i = 0; i < bottom[0]->count(); ++i) {
        dx[i] *= scale + each[i / item * inner_ + i % inner_];
      }
    }
  }

 private:
  static const float* Weights(const Blobs& bottom) {
    return bottom.size() > 2 ? bottom[2]->data() : nullptr;
  }

  void WriteEach(const Blobs& bottom, float* each) const {
    const float *a = bottom[0]->data(), *b = bottom[1]->data(), *w = Weights(bottom);
    const int64_t channels = bottom[0]->shape(1);
    for (int64_t place = 0; place < bottom[0]->shape(0) * inner_; ++place) {
      const int64_t first = place / inner_ * channels * inner_ + place % inner_;
      double sum = 0;
      for (int64_t i = first; i < first + channels * inner_; i += inner_) {
        const float d = std::abs((w ? w[i] : 1) * (a[i] - b[i]));
        sum += d < 1 ? 0.5f * d * d : d - 0.5f;
      }
      each[place] = static_cast<float>(sum);
    }
  }

  int64_t inner_ = 1;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("SmoothL1LossOHEM", SmoothL1LossOhem,
                    "Smooth L1 loss of two blobs, whose differences a third may weight. A second "
                    "top is the loss of each item and place.");

}  // namespace pydl
