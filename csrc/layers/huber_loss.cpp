// HuberLoss (Huber 1964) and L1Loss, its limit for small delta, as torch has them.

#include <cmath>

#include "kernels/loss.h"
#include "layers/pair_loss.h"

namespace pydl {

struct HuberLossParams {
  float delta = 1;

  static auto fields() {
    return Fields("huber_loss_param",
                  Field("delta", &HuberLossParams::delta,
                        "up to here differences count by half their square, then by delta times "
                        "what is more than delta / 2"));
  }
};

// delta times smooth L1 with sigma^2 = 1 / delta (kernels/loss.h).
template <class... P>
class SmoothPairLoss : public PairLoss<P...> {
 protected:
  Normalization usual() const override { return Normalization::kFull; }

  virtual float sigma() const = 0;
  virtual float factor() const = 0;

  double Sum(int64_t n, const float* a, const float* b, const float* weights) const override {
    return factor() * kernels::loss_kernels().smooth_l1(n, a, b, nullptr, weights, sigma());
  }
  void Gradient(int which, int64_t n, const float* a, const float* b, const float* weights,
                float scale, float* d) const override {
    kernels::loss_kernels().smooth_l1_backward(n, which == 0 ? a : b, which == 0 ? b : a, nullptr,
                                               weights, sigma(), factor() * scale, d);
  }
};

class HuberLoss final : public SmoothPairLoss<HuberLossParams> {
 public:
  void SetUp(const Blobs& bottom, const Blobs& top) override {
    SmoothPairLoss::SetUp(bottom, top);
    check(params_of().delta > 0, "delta must be positive, got ", params_of().delta);
  }

 private:
  float sigma() const override { return 1 / std::sqrt(params_of().delta); }
  float factor() const override { return params_of().delta; }
};

class L1Loss final : public SmoothPairLoss<> {
 private:
  // Differences below 1e-30 alone count by their squares, so that the gradient at 0 is 0.
  float sigma() const override { return 1e15f; }
  float factor() const override { return 1; }
};

PYDL_REGISTER_LAYER("HuberLoss", HuberLoss,
                    "Mean over all values of half the square of small differences, of delta (|d| - "
                    "delta / 2) for large ones; a third bottom weighs samples or values.");
PYDL_REGISTER_LAYER("L1Loss", L1Loss,
                    "Mean absolute difference over all values; a third bottom weighs samples or "
                    "values.");

}  // namespace pydl
