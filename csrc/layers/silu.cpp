// SiLU: x sigmoid(x) (Elfwing et al. 2018, arXiv:1702.03118), Swish with beta 1.

#include "kernels/activation.h"
#include "layers/input_reading_layer.h"

namespace pydl {

class Silu final : public InputReadingLayer<> {
 protected:
  void Apply(int64_t n, ConstArray x, Array y) const override {
    kernels::activation_kernels().swish_forward(n, x, 1, y);
  }
  void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const override {
    kernels::activation_kernels().swish_backward(n, x, dy, 1, dx);
  }
};

PYDL_REGISTER_LAYER("SiLU", Silu, "x sigmoid(x).");

}  // namespace pydl
