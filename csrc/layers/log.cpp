// Log: the logarithm of scale x + shift, to base e by default.

#include "core/check.h"
#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "layers/log_base.h"
#include "layers/overwriting_layer.h"

namespace pydl {

struct LogParams {
  float base = -1, scale = 1, shift = 0;

  static auto fields() {
    return Fields(
        "log_param",
        Field("base", &LogParams::base, "the base, which must be positive and not 1; -1 is e"),
        Field("scale", &LogParams::scale, "factor of x"),
        Field("shift", &LogParams::shift, "added to scale x"));
  }
};

class Log final : public OverwritingLayer<LogParams> {
 public:
  void SetUp(const Blobs&, const Blobs&) override {
    const double log_base = log_of_base(params_of().base);
    check(log_base != 0, "base must not be 1, which has no logarithms");
    factor_ = static_cast<float>(1 / log_base);
    slope_ = static_cast<float>(params_of().scale / log_base);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().log_forward(bottom[0]->count(), x, params_of().scale,
                                              params_of().shift, factor_,
                                              top[0]->mutable_data(format()));
  }

  // In place, Caffe overwrites dy by the slope before it multiplies the two.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const int64_t n = bottom[0]->count();
    const bool in_place = bottom[0] == top[0];
    const ConstArray x = bottom[0]->data(format()), dy = top[0]->diff(format());
    const Array dx = bottom[0]->mutable_diff(format());
    if (in_place) kernels::eltwise_kernels().fill(n, 1, dx);
    kernels::activation_kernels().log_backward(n, x, dy, params_of().scale, params_of().shift,
                                               slope_, dx);
    if (in_place) kernels::eltwise_kernels().mul(n, dx, dx, dx);
  }

 private:
  float factor_ = 1, slope_ = 1;  // 1 / log(base), scale / log(base)
};

PYDL_REGISTER_LAYER("Log", Log, "Logarithm of scale x + shift.");

}  // namespace pydl
