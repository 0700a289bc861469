// GELU: x Phi(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415).

#include "kernels/activation.h"
#include "layers/input_reading_layer.h"

namespace pydl {

enum class GeluApproximation { kNone = 0, kTanh = 1 };
constexpr std::array<EnumName, 2> enum_names(GeluApproximation) {
  return {{{"NONE", 0}, {"TANH", 1}}};
}

struct GeluParams {
  GeluApproximation approximate = GeluApproximation::kNone;

  static auto fields() {
    return Fields("gelu_param", Field("approximate", &GeluParams::approximate,
                                      "NONE: the normal distribution; TANH: its approximation "
                                      "0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))"));
  }
};

class Gelu final : public InputReadingLayer<GeluParams> {
 protected:
  void Apply(int64_t n, ConstArray x, Array y) const override {
    kernels::activation_kernels().gelu_forward(n, x, by_tanh(), y);
  }
  void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const override {
    kernels::activation_kernels().gelu_backward(n, x, dy, by_tanh(), dx);
  }

 private:
  bool by_tanh() const { return params_of().approximate == GeluApproximation::kTanh; }
};

PYDL_REGISTER_LAYER("GELU", Gelu, "x Phi(x), Phi the normal distribution.");

}  // namespace pydl
