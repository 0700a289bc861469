// Softplus: log(1 + exp(beta x)) / beta (Dugas et al. 2001), a smooth ReLU, as torch.nn.Softplus
// has it.

#include "core/check.h"
#include "kernels/activation.h"
#include "layers/input_reading_layer.h"

namespace pydl {

struct SoftplusParams {
  float beta = 1, threshold = 20;

  static auto fields() {
    using P = SoftplusParams;
    return Fields("softplus_param", Field("beta", &P::beta, "the larger, the closer to ReLU"),
                  Field("threshold", &P::threshold, "where beta x is larger, the result is x"));
  }
};

class Softplus final : public InputReadingLayer<SoftplusParams> {
 public:
  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().beta > 0, "beta must be positive, got ", params_of().beta);
  }

 protected:
  void Apply(int64_t n, ConstArray x, Array y) const override {
    const SoftplusParams& p = params_of();
    kernels::activation_kernels().softplus_forward(n, x, p.beta, p.threshold, y);
  }
  void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const override {
    const SoftplusParams& p = params_of();
    kernels::activation_kernels().softplus_backward(n, x, dy, p.beta, p.threshold, dx);
  }
};

PYDL_REGISTER_LAYER("Softplus", Softplus,
                    "log(1 + exp(beta x)) / beta, which is x far to the right.");

}  // namespace pydl
