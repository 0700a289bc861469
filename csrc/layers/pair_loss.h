// Base of the losses that compare a blob with another of its shape, value by value.
#pragma once

#include "layers/loss_params.h"
#include "layers/sample_weights.h"

namespace pydl {

// bottoms: two blobs (N, ...), which both can get a gradient; weights, of samples (N) or values
// top: the loss, a scalar
template <class... P>
class PairLoss : public LayerOf<P..., LossParams> {
 public:
  Arity bottoms() const override { return {2, 3}; }
  bool is_loss() const override { return true; }
  bool can_propagate(int bottom) const override { return bottom < 2; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(!loss_params().ignore_label,
          "ignore_label is for losses over labels; here a third bottom gives weights, 0 for what "
          "does not count");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &a = *bottom[0], &b = *bottom[1];
    const bool match = a.axes() >= 1 && b.axes() >= 1 && a.shape(0) == b.shape(0);
    check(match && a.count() == b.count(),
          "compares two blobs of as many rows (axis 0) of as many values, got ",
          shape_text(a.shape()), " and ", shape_text(b.shape()));
    if (bottom.size() > 2) SampleWeights::check_count(a, *bottom[2]);
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t n = bottom[0]->count(), rows = bottom[0]->shape(0);
    const float* weights = Weights(bottom);
    const Normalization mode = loss_params().mode(usual());
    const int64_t valid = mode == Normalization::kValid ? count_weighted(n, weights) : n;
    normalizer_ = normalizer(mode, rows, bottom[0]->count(1), valid);
    const double sum = Sum(n, bottom[0]->data(), bottom[1]->data(), weights);
    top[0]->mutable_data()[0] = static_cast<float>(sum / normalizer_);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    const float* weights = Weights(bottom);
    for (int i = 0; i < 2; ++i) {
      if (down[i] == Propagate::kNo) continue;
      Gradient(i, bottom[0]->count(), bottom[0]->data(), bottom[1]->data(), weights, scale,
               bottom[i]->mutable_diff());
    }
  }

 protected:
  virtual Normalization usual() const = 0;  // without loss_param
  // Weights may be null: 1.
  virtual double Sum(int64_t n, const float* a, const float* b, const float* weights) const = 0;
  // Of the sum, by a (which = 0) or b.
  virtual void Gradient(int which, int64_t n, const float* a, const float* b, const float* weights,
                        float scale, float* d) const = 0;

 private:
  const LossParams& loss_params() const { return this->template params_of<LossParams>(); }
  const float* Weights(const Blobs& bottom) {
    if (bottom.size() < 3) return nullptr;
    return weights_.of(*bottom[2], bottom[0]->shape(0), bottom[0]->count(1));
  }

  SampleWeights weights_;
  double normalizer_ = 1;
};

}  // namespace pydl
