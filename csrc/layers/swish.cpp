// Swish: x sigmoid(beta x) (Ramachandran et al. 2017, arXiv:1710.05941).

#include "kernels/activation.h"
#include "layers/input_reading_layer.h"

namespace pydl {

struct SwishParams {
  float beta = 1;

  static auto fields() {
    return Fields("swish_param",
                  Field("beta", &SwishParams::beta, "1 is SiLU; the larger, the closer to ReLU"));
  }
};

// Caffe's keeps the sigmoid, so that its gradient is right in place too.
class Swish final : public InputReadingLayer<SwishParams> {
 protected:
  void Apply(int64_t n, ConstArray x, Array y) const override {
    kernels::activation_kernels().swish_forward(n, x, params_of().beta, y);
  }
  void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const override {
    kernels::activation_kernels().swish_backward(n, x, dy, params_of().beta, dx);
  }
};

PYDL_REGISTER_LAYER("Swish", Swish, "x sigmoid(beta x).");

}  // namespace pydl
