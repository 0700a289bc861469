// GaussianKLLoss: how far normal distributions are from the standard one, the Kullback-Leibler
// divergence of a variational autoencoder's code (Kingma & Welling 2014, arXiv:1312.6114, B).

#include "kernels/eltwise.h"
#include "kernels/stochastic.h"
#include "layers/gaussian_bottoms.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: mean and log of the variance (N, ...)
// top: the sum of (mean^2 + exp(log_variance) - 1 - log_variance) / 2, over N
class GaussianKLLoss final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool is_loss() const override { return true; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check_gaussian_bottoms(bottom);
    check(bottom[0]->axes() >= 1, "its bottoms must be (N, ...), but are scalars");
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const double sum = kernels::stochastic_kernels().gaussian_kl(
        bottom[0]->count(), bottom[0]->data(), bottom[1]->data());
    top[0]->mutable_data()[0] = static_cast<float>(sum / mean_divisor(bottom[0]->shape(0)));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t n = bottom[0]->count();
    const auto scale = static_cast<float>(top[0]->diff()[0] / mean_divisor(bottom[0]->shape(0)));
    if (down[0] != Propagate::kNo) {
      kernels::eltwise_kernels().scale(n, scale, bottom[0]->data(), bottom[0]->mutable_diff());
    }
    if (down[1] != Propagate::kNo) {
      kernels::stochastic_kernels().gaussian_kl_backward(n, bottom[1]->data(), scale,
                                                         bottom[1]->mutable_diff());
    }
  }
};

PYDL_REGISTER_LAYER("GaussianKLLoss", GaussianKLLoss,
                    "Kullback-Leibler divergence of normal distributions, given by means and log "
                    "variances, from the standard normal: summed, over the batch size.");

}  // namespace pydl
