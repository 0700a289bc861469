// TripletLoss: an anchor is to be nearer to a positive than to a negative, by a margin (Schroff et
// al. 2015, arXiv:1503.03832), as torch.nn.TripletMarginLoss has it.
//
//   max(d(a, p) - d(a, n) + margin, 0), d(a, b) the p-norm of a - b + eps

#include <algorithm>
#include <cmath>

#include "kernels/loss.h"
#include "layers/loss_params.h"
#include "layers/sample_weights.h"

namespace pydl {

struct TripletLossParams {
  float margin = 1, p = 2, eps = 1e-6f;
  bool swap = false;

  static auto fields() {
    using P = TripletLossParams;
    return Fields("triplet_loss_param",
                  Field("margin", &P::margin, "by how much negatives are to be farther away"),
                  Field("p", &P::p, "of the norm; at least 1"),
                  Field("eps", &P::eps, "added to each difference"),
                  Field("swap", &P::swap,
                        "take the distance of positive and negative if that is less than that of "
                        "anchor and negative (Balntas et al. 2016)"));
  }
};

// bottoms: anchors, positives and negatives (N, ...), and weights (N)   top: the loss, a scalar
class TripletLoss final : public LayerOf<TripletLossParams, LossParams> {
 public:
  Arity bottoms() const override { return {3, 4}; }
  bool can_propagate(int bottom) const override { return bottom < 3; }
  bool is_loss() const override { return true; }

  void SetUp(const Blobs&, const Blobs&) override {
    const TripletLossParams& p = params_of();
    check(p.margin >= 0, "margin must not be negative, got ", p.margin);
    check(p.p >= 1, "p must be at least 1, got ", p.p);
    check(p.eps >= 0, "eps must not be negative, got ", p.eps);
    check(!params_of<LossParams>().ignore_label,
          "ignore_label is for losses over labels; here a fourth bottom gives weights, 0 for what "
          "does not count");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& a = *bottom[0];
    check(a.axes() >= 1, "needs anchors with a batch axis, got a scalar");
    for (int i = 1; i < 3; ++i) {
      const Blob& b = *bottom[i];
      check(b.axes() >= 1 && b.shape(0) == a.shape(0) && b.count() == a.count(), "bottom \"",
            spec_.bottom[i], "\" must hold as many vectors as the anchors ", shape_text(a.shape()),
            ", as long, but is ", shape_text(b.shape()));
    }
    if (bottom.size() > 3) {
      check(bottom[3]->count() == a.shape(0), "needs a weight for each of the ", a.shape(0),
            " triplets, but the weights are ", shape_text(bottom[3]->shape()));
    }
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t n = bottom[0]->shape(0);
    const float *a = bottom[0]->data(), *p = bottom[1]->data(), *q = bottom[2]->data();
    Distances(bottom, a, p, &near_);
    Distances(bottom, a, q, &far_);
    if (params_of().swap) Distances(bottom, p, q, &other_);
    double sum = 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double weight = Weight(bottom, i);
      valid += weight != 0;
      sum += weight * Excess(i);
    }
    const Normalization mode = params_of<LossParams>().mode(Normalization::kBatchSize);
    normalizer_ = normalizer(mode, n, 1, valid);
    top[0]->mutable_data()[0] = static_cast<float>(sum / normalizer_);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t n = bottom[0]->shape(0);
    const double scale = top[0]->diff()[0] / normalizer_;
    std::vector<float> near(n), far(n), other(n);
    for (int64_t i = 0; i < n; ++i) {
      const double d = Excess(i) > 0 ? scale * Weight(bottom, i) : 0;
      near[i] = Factor(d, near_[i]);
      (Swapped(i) ? other : far)[i] = Factor(-d, Swapped(i) ? other_[i] : far_[i]);
    }
    // Each pair (first, second) moves both ends, the second one the other way.
    std::vector<bool> written(3, false);
    const auto pull = [&](int first, int second, std::vector<float>* factors) {
      for (const int end : {first, second}) {
        if (down[end] != Propagate::kNo) {
          kernels::loss_kernels().power_slopes(
              n, bottom[0]->count(1), factors->data(), bottom[first]->data(),
              bottom[second]->data(), params_of().eps, params_of().p, written[end],
              written[end] ? bottom[end]->update_diff() : bottom[end]->mutable_diff());
          written[end] = true;
        }
        for (float& f : *factors) f = -f;
      }
    };
    pull(0, 1, &near);
    pull(0, 2, &far);
    if (params_of().swap) pull(1, 2, &other);
  }

 private:
  void Distances(const Blobs& bottom, const float* a, const float* b,
                 std::vector<double>* out) const {
    const TripletLossParams& p = params_of();
    out->resize(bottom[0]->shape(0));
    kernels::loss_kernels().powers(bottom[0]->shape(0), bottom[0]->count(1), a, b, p.eps, p.p,
                                   out->data());
    for (double& d : *out) d = std::pow(d, 1.0 / p.p);
  }
  bool Swapped(int64_t i) const { return params_of().swap && other_[i] < far_[i]; }
  double Excess(int64_t i) const {
    return std::max(near_[i] - (Swapped(i) ? other_[i] : far_[i]) + params_of().margin, 0.0);
  }
  // Of the slopes of a distance: its gradient is sign(e) (|e| / distance)^(p - 1), 0 at 0.
  float Factor(double d, double distance) const {
    return distance > 0 ? static_cast<float>(d / std::pow(distance, params_of().p - 1.0)) : 0;
  }
  static double Weight(const Blobs& bottom, int64_t i) {
    return bottom.size() > 3 ? bottom[3]->data()[i] : 1;
  }

  std::vector<double> near_, far_, other_;  // distances: to the positive, the negative, theirs
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("TripletLoss", TripletLoss,
                    "By how much anchors are not nearer to positives than to negatives by a "
                    "margin, averaged over the batch; a fourth bottom weighs triplets.");

}  // namespace pydl
