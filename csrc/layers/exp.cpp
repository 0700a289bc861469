// Exp: base^(scale x + shift), with base e by default.

#include <cmath>

#include "core/check.h"
#include "kernels/activation.h"
#include "layers/log_base.h"
#include "pydl/layer.h"

namespace pydl {

struct ExpParams {
  float base = -1, scale = 1, shift = 0;

  static auto fields() {
    return Fields("exp_param",
                  Field("base", &ExpParams::base, "the base, which must be positive; -1 is e"),
                  Field("scale", &ExpParams::scale, "factor of x in the exponent"),
                  Field("shift", &ExpParams::shift, "added to the exponent"));
  }
};

class Exp final : public NeuronLayer<ExpParams> {
 public:
  TopUse backward_reads_top() const override { return TopUse::kData; }
  bool backward_reads_bottom(int) const override { return false; }

  // y = factor_ exp(scale_ x)
  void SetUp(const Blobs&, const Blobs&) override {
    const double log_base = log_of_base(params_of().base);
    scale_ = static_cast<float>(log_base * params_of().scale);
    factor_ = static_cast<float>(std::exp(log_base * params_of().shift));
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().exp_forward(bottom[0]->count(), x, scale_, factor_,
                                              top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().exp_backward(bottom[0]->count(), top[0]->data(format()), dy,
                                               scale_, bottom[0]->mutable_diff(format()));
  }

 private:
  float scale_ = 1, factor_ = 1;
};

PYDL_REGISTER_LAYER("Exp", Exp, "Exponential: base^(scale x + shift).");

}  // namespace pydl
