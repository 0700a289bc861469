// KLDivLoss: the Kullback-Leibler divergence of a distribution, given by its logarithms, from a
// target, as torch.nn.KLDivLoss has it: t (log t - x).

#include "kernels/loss.h"
#include "layers/pair_loss.h"

namespace pydl {

struct KLDivLossParams {
  bool log_target = false;

  static auto fields() {
    return Fields("kl_div_loss_param", Field("log_target", &KLDivLossParams::log_target,
                                             "the target too is given by its logarithms"));
  }
};

class KLDivLoss final : public PairLoss<KLDivLossParams> {
 private:
  Normalization usual() const override { return Normalization::kBatchSize; }

  double Sum(int64_t n, const float* x, const float* t, const float* weights) const override {
    return kernels::loss_kernels().kl_divergence(n, x, t, weights, params_of().log_target);
  }
  void Gradient(int which, int64_t n, const float* x, const float* t, const float* weights,
                float scale, float* d) const override {
    kernels::loss_kernels().kl_divergence_backward(n, x, t, weights, params_of().log_target, scale,
                                                   which == 0 ? d : nullptr,
                                                   which == 1 ? d : nullptr);
  }
};

PYDL_REGISTER_LAYER("KLDivLoss", KLDivLoss,
                    "Kullback-Leibler divergence of log-probabilities from target probabilities, "
                    "over the batch size (normalization: FULL is torch's \"mean\"); a third bottom "
                    "weighs samples or values.");

}  // namespace pydl
