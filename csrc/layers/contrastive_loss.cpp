// ContrastiveLoss: pulls pairs of vectors that are similar together, and pushes others apart up to
// a margin (Hadsell et al. 2006).
//
// With d the distance of a pair, the loss is the mean over the batch of half of
//   d^2 if similar, else max(margin - d, 0)^2; or with legacy_version max(margin - d^2, 0).

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "kernels/loss.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

struct ContrastiveLossParams {
  float margin = 1;
  bool legacy_version = false;

  static auto fields() {
    using P = ContrastiveLossParams;
    return Fields("contrastive_loss_param",
                  Field("margin", &P::margin, "the distance at which pairs need not be apart more"),
                  Field("legacy_version", &P::legacy_version,
                        "margin - d^2 instead of (margin - d)^2 for pairs that are not similar"));
  }
};

// bottoms: two of vectors (N, C), and whether they are similar (N): not 0 as an integer
// top: the loss, a scalar
class ContrastiveLoss final : public LayerOf<ContrastiveLossParams> {
 public:
  Arity bottoms() const override { return {3, 3}; }
  bool can_propagate(int bottom) const override { return bottom < 2; }
  bool is_loss() const override { return true; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &a = *bottom[0], &b = *bottom[1];
    const bool pairs =
        a.axes() >= 1 && b.axes() >= 1 && a.shape(0) == b.shape(0) && a.count(1) == b.count(1);
    check(pairs, "needs as many vectors of one length in its first two bottoms, got ",
          shape_text(a.shape()), " and ", shape_text(b.shape()));
    check((a.axes() < 3 || a.count(2) == 1) && (b.axes() < 3 || b.count(2) == 1),
          "takes vectors (N, C), not images: reshape ", shape_text(a.shape()), " and ",
          shape_text(b.shape()), " with Flatten");
    check(bottom[2]->count() == a.shape(0), "needs to be told of each of the ", a.shape(0),
          " pairs whether it is similar, but its third bottom is ", shape_text(bottom[2]->shape()));
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t pairs = bottom[0]->shape(0);
    check_similarities(*bottom[2]);
    distances_.resize(static_cast<size_t>(pairs));
    kernels::loss_kernels().squared_distances(pairs, bottom[0]->count(1), bottom[0]->data(),
                                              bottom[1]->data(), distances_.data());
    const float* similar = bottom[2]->data();
    double loss = 0;
    for (int64_t i = 0; i < pairs; ++i) loss += PairLoss(is_similar(similar[i]), distances_[i]);
    top[0]->mutable_data()[0] = static_cast<float>(loss / mean_divisor(pairs) / 2);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t pairs = bottom[0]->shape(0);
    const double scale = top[0]->diff()[0] / mean_divisor(pairs);
    const float* similar = bottom[2]->data();
    std::vector<float> factors(static_cast<size_t>(pairs));
    for (int64_t i = 0; i < pairs; ++i) {
      factors[i] = static_cast<float>(scale * Slope(is_similar(similar[i]), distances_[i]));
    }
    for (int i = 0; i < 2; ++i) {
      if (down[i] == Propagate::kNo) continue;
      kernels::loss_kernels().scaled_differences(pairs, bottom[0]->count(1), factors.data(),
                                                 bottom[i]->data(), bottom[1 - i]->data(),
                                                 bottom[i]->mutable_diff());
    }
  }

 private:
  static bool is_similar(float value) { return std::trunc(value) != 0; }
  static void check_similarities(const Blob& similar) {
    const float* value = similar.data();
    for (int64_t i = 0; i < similar.count(); ++i) {
      if (std::isfinite(value[i])) continue;
      fail("the third bottom tells by integers whether pairs are similar, but holds ", value[i],
           " at ", position_text(similar.shape(), i));
    }
  }

  // Of a pair with that squared distance, times 2.
  double PairLoss(bool similar, double squared) const {
    if (similar) return squared;
    if (params_of().legacy_version) return std::max(params_of().margin - squared, 0.0);
    const double missing = std::max(params_of().margin - std::sqrt(squared), 0.0);
    return missing * missing;
  }

  // The gradient by the difference of the pair is Slope times the difference. As in Caffe, 1e-4
  // keeps the quotient finite at distance 0.
  double Slope(bool similar, double squared) const {
    if (similar) return 1;
    if (params_of().legacy_version) return squared < params_of().margin ? -1 : 0;
    const double distance = std::sqrt(squared);
    return std::min(distance - params_of().margin, 0.0) / (distance + 1e-4);
  }

  std::vector<double> distances_;  // squared, of the last forward pass
};

PYDL_REGISTER_LAYER("ContrastiveLoss", ContrastiveLoss,
                    "Pulls vectors of similar pairs together, and others apart up to a margin.");

}  // namespace pydl
