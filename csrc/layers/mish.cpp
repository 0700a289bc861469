// Mish: x tanh(log(1 + exp(x))) (Misra 2019, arXiv:1908.08681).

#include "kernels/activation.h"
#include "layers/input_reading_layer.h"

namespace pydl {

class Mish final : public InputReadingLayer<> {
 protected:
  void Apply(int64_t n, ConstArray x, Array y) const override {
    kernels::activation_kernels().mish_forward(n, x, y);
  }
  void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const override {
    kernels::activation_kernels().mish_backward(n, x, dy, dx);
  }
};

PYDL_REGISTER_LAYER("Mish", Mish, "x tanh(log(1 + exp(x))).");

}  // namespace pydl
