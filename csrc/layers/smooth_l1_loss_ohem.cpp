// SmoothL1LossOHEM: the loss of box regression with the loss of each region as a second top, by
// which R-FCN chooses hard examples (Dai et al. 2016, arXiv:1605.06409). Each difference d counts
// d^2 / 2 up to 1, |d| - 1/2 beyond.

#include <algorithm>
#include <cmath>

#include "core/check.h"
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
    const int64_t items = bottom[0]->shape(0), channels = bottom[0]->shape(1);
    float* each = top.size() > 1 ? top[1]->mutable_data() : nullptr;
    const Differences d(bottom);
    double loss = 0;
    for (int64_t n = 0; n < items; ++n) {
      for (int64_t i = 0; i < inner_; ++i) {
        double sum = 0;
        for (int64_t c = 0; c < channels; ++c) {
          const float x = std::abs(d.of((n * channels + c) * inner_ + i));
          sum += x < 1 ? 0.5f * x * x : x - 0.5f;
        }
        if (each) each[n * inner_ + i] = static_cast<float>(sum);
        loss += sum;
      }
    }
    normalizer_ =
        params_of().normalizer(OhemNormalization::kBatchSize, items, inner_, items * inner_);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    const float* each = top.size() > 1 ? top[1]->diff() : nullptr;
    const int64_t channels = bottom[0]->shape(1);
    const Differences d(bottom);
    for (int b = 0; b < 2; ++b) {
      if (down[b] == Propagate::kNo) continue;
      float* dx = bottom[b]->mutable_diff();
      for (int64_t i = 0; i < bottom[0]->count(); ++i) {
        const int64_t place = i / (channels * inner_) * inner_ + i % inner_;
        const float slope = std::clamp(d.of(i), -1.0f, 1.0f) * d.weight(i);
        dx[i] = (b == 0 ? slope : -slope) * (scale + (each ? each[place] : 0));
      }
    }
  }

 private:
  struct Differences {
    const float *a, *b, *w;

    explicit Differences(const Blobs& bottom)
        : a(bottom[0]->data()),
          b(bottom[1]->data()),
          w(bottom.size() > 2 ? bottom[2]->data() : nullptr) {}
    float weight(int64_t i) const { return w ? w[i] : 1; }
    float of(int64_t i) const { return weight(i) * (a[i] - b[i]); }
  };

  int64_t inner_ = 1;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("SmoothL1LossOHEM", SmoothL1LossOhem,
                    "Smooth L1 loss of two blobs, whose differences a third may weight. A second "
                    "top is the loss of each item and place.");

}  // namespace pydl
