// CosineEmbeddingLoss: vectors that belong together are to point the same way, others not within
// `margin` of it, as torch.nn.CosineEmbeddingLoss has it.
//
//   1 - cos for label 1, max(0, cos - margin) for label -1; cos = a b / sqrt((a^2 + e) (b^2 + e))

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/loss.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "layers/sample_weights.h"

namespace pydl {

struct CosineEmbeddingLossParams {
  float margin = 0;

  static auto fields() {
    return Fields("cosine_embedding_loss_param",
                  Field("margin", &CosineEmbeddingLossParams::margin,
                        "-1 to 1: the cosine down to which others are pushed apart"));
  }
};

// bottoms: two of vectors (N, ...), labels (N) 1 or -1, and weights (N)   top: the loss, a scalar
class CosineEmbeddingLoss final : public LayerOf<CosineEmbeddingLossParams, LossParams> {
 public:
  Arity bottoms() const override { return {3, 4}; }
  bool can_propagate(int bottom) const override { return bottom < 2; }
  bool is_loss() const override { return true; }

  void SetUp(const Blobs&, const Blobs&) override {
    const float margin = params_of().margin;
    check(margin >= -1 && margin <= 1, "margin must be from -1 to 1, got ", margin);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &a = *bottom[0], &b = *bottom[1];
    const bool pairs = a.axes() >= 1 && b.axes() >= 1 && a.shape(0) == b.shape(0);
    check(pairs && a.count() == b.count(),
          "needs as many vectors of one length in its first two bottoms, got ",
          shape_text(a.shape()), " and ", shape_text(b.shape()));
    for (size_t i = 2; i < bottom.size(); ++i) {
      check(bottom[i]->count() == a.shape(0), "bottom \"", spec_.bottom[i],
            "\" must hold a value for each of the ", a.shape(0), " pairs, but is ",
            shape_text(bottom[i]->shape()));
    }
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t pairs = bottom[0]->shape(0), size = bottom[0]->count(1);
    CheckLabels(*bottom[2]);
    for (auto* values : {&dots_, &squares_[0], &squares_[1]}) values->resize(pairs);
    const auto& kernels = kernels::loss_kernels();
    const float *a = bottom[0]->data(), *b = bottom[1]->data(), *label = bottom[2]->data();
    kernels.dots(pairs, size, a, b, dots_.data());
    kernels.dots(pairs, size, a, a, squares_[0].data());
    kernels.dots(pairs, size, b, b, squares_[1].data());
    double sum = 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < pairs; ++i) {
      const double weight = Weight(bottom, i);
      valid += weight != 0;
      if (weight == 0) continue;
      sum +=
          weight * (label[i] > 0 ? 1 - Cosine(i) : std::max(Cosine(i) - params_of().margin, 0.0));
    }
    const Normalization mode = params_of<LossParams>().mode(Normalization::kBatchSize);
    normalizer_ = normalizer(mode, pairs, 1, valid);
    top[0]->mutable_data()[0] = static_cast<float>(sum / normalizer_);
  }

  // The gradient by a is that by the cosine times b / (|a| |b|) - cos a / |a|^2.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t pairs = bottom[0]->shape(0);
    const double scale = top[0]->diff()[0] / normalizer_;
    const float* label = bottom[2]->data();
    std::vector<float> of_other(pairs), of_self(pairs);
    for (int which = 0; which < 2; ++which) {
      if (down[which] == Propagate::kNo) continue;
      for (int64_t i = 0; i < pairs; ++i) {
        const double cosine = Cosine(i);
        const double slope = label[i] > 0 ? -1 : cosine > params_of().margin ? 1 : 0;
        const double d = scale * Weight(bottom, i) * slope;
        of_other[i] = static_cast<float>(d / Length(i));
        of_self[i] = static_cast<float>(-d * cosine / (squares_[which][i] + kEps));
      }
      kernels::loss_kernels().combine_rows(
          pairs, bottom[0]->count(1), of_other.data(), bottom[1 - which]->data(), of_self.data(),
          bottom[which]->data(), false, bottom[which]->mutable_diff());
    }
  }

 private:
  static constexpr double kEps = 1e-12;  // torch's

  double Length(int64_t i) const {
    return std::sqrt((squares_[0][i] + kEps) * (squares_[1][i] + kEps));
  }
  double Cosine(int64_t i) const { return dots_[i] / Length(i); }

  bool Ignored(float label) const {
    return is_ignored(label, params_of<LossParams>().ignore_label);
  }
  double Weight(const Blobs& bottom, int64_t i) const {
    if (Ignored(bottom[2]->data()[i])) return 0;
    return bottom.size() > 3 ? bottom[3]->data()[i] : 1;
  }
  void CheckLabels(const Blob& labels) const {
    const float* label = labels.data();
    for (int64_t i = 0; i < labels.count(); ++i) {
      if (label[i] == 1 || label[i] == -1 || Ignored(label[i])) continue;
      fail("label ", label[i], " at ", position_text(labels.shape(), i),
           " is neither 1 (a pair that belongs together) nor -1");
    }
  }

  std::vector<double> dots_;
  std::array<std::vector<double>, 2> squares_;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("CosineEmbeddingLoss", CosineEmbeddingLoss,
                    "1 - the cosine of vectors with label 1, what it is above a margin for label "
                    "-1, averaged over the batch; a fourth bottom weighs pairs.");

}  // namespace pydl
