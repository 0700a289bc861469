// Power: (scale x + shift)^power.

#include <cmath>

#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "layers/overwriting_layer.h"

namespace pydl {

struct PowerParams {
  float power = 1, scale = 1, shift = 0;

  static auto fields() {
    return Fields("power_param", Field("power", &PowerParams::power, "the exponent"),
                  Field("scale", &PowerParams::scale, "factor of x"),
                  Field("shift", &PowerParams::shift, "added to scale x"));
  }
};

class Power final : public OverwritingLayer<PowerParams> {
 public:
  bool backward_reads_bottom(int) const override {
    return !is_constant() && params_of().power != 1;
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const PowerParams& p = params_of();
    const int64_t n = bottom[0]->count();
    if (is_constant()) {  // whatever x is, as in Caffe
      kernels::eltwise_kernels().fill(n, std::pow(p.shift, p.power),
                                      top[0]->mutable_data(format()));
      return;
    }
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().power_forward(n, x, p.scale, p.shift, p.power,
                                                top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const PowerParams& p = params_of();
    const int64_t n = bottom[0]->count();
    if (is_constant()) {
      kernels::eltwise_kernels().fill(n, 0, bottom[0]->mutable_diff(format()));
    } else if (bottom[0] == top[0]) {
      BackwardInPlace(n, top[0]->data(format()), bottom[0]->mutable_diff(format()));
    } else if (p.power == 1) {
      const ConstArray dy = top[0]->diff(format());
      kernels::eltwise_kernels().scale(n, p.scale, dy, bottom[0]->mutable_diff(format()));
    } else {
      const ConstArray dy = top[0]->diff(format());
      kernels::activation_kernels().power_backward(n, bottom[0]->data(format()), dy, p.scale,
                                                   p.shift, p.power - 1, p.power * p.scale,
                                                   bottom[0]->mutable_diff(format()));
    }
  }

 private:
  bool is_constant() const { return params_of().power == 0 || params_of().scale == 0; }

  // Caffe overwrites dy by the slope before it multiplies the two. The slope is
  // power scale u^power / u, with the output for u^power and, in u = scale x + shift, for x.
  void BackwardInPlace(int64_t n, ConstArray y, Array dx) const {
    const PowerParams& p = params_of();
    const auto& kernels = kernels::activation_kernels();
    const float factor = p.power * p.scale;
    if (p.power == 1) {
      kernels::eltwise_kernels().fill(n, factor, dx);
    } else if (p.power == 2) {
      kernels.power_forward(n, y, factor * p.scale, factor * p.shift, 1, dx);
    } else {
      kernels.log_backward(n, y, y, p.scale, p.shift, factor, dx);
    }
    kernels::eltwise_kernels().mul(n, dx, dx, dx);
  }
};

PYDL_REGISTER_LAYER("Power", Power, "Power of scale x + shift.");

}  // namespace pydl
