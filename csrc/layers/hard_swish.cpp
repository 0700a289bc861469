// HardSwish: x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, arXiv:1905.02244).

#include "kernels/activation.h"
#include "layers/input_reading_layer.h"

namespace pydl {

class HardSwish final : public InputReadingLayer<> {
 protected:
  void Apply(int64_t n, ConstArray x, Array y) const override {
    kernels::activation_kernels().hard_swish_forward(n, x, y);
  }
  void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const override {
    kernels::activation_kernels().hard_swish_backward(n, x, dy, dx);
  }
};

PYDL_REGISTER_LAYER("HardSwish", HardSwish, "x min(max(x + 3, 0), 6) / 6.");

}  // namespace pydl
