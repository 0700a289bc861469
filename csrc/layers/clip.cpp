// Clip: x limited to [min, max]. The gradient passes at the limits themselves.

#include "core/check.h"
#include "kernels/activation.h"
#include "layers/overwriting_layer.h"

namespace pydl {

struct ClipParams {
  std::optional<float> min, max;

  static auto fields() {
    return Fields("clip_param", Field("min", &ClipParams::min, "least output; required"),
                  Field("max", &ClipParams::max, "greatest output; required"));
  }
};

class Clip final : public OverwritingLayer<ClipParams> {
 public:
  void SetUp(const Blobs&, const Blobs&) override {
    const ClipParams& p = params_of();
    check(p.min && p.max, "clip_param needs both min and max, but has no ",
          p.min   ? "max"
          : p.max ? "min"
                  : "min and no max");
    check(*p.min <= *p.max, "min ", *p.min, " is larger than max ", *p.max);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().clip_forward(bottom[0]->count(), x, *params_of().min,
                                               *params_of().max, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().clip_backward(bottom[0]->count(), bottom[0]->data(format()), dy,
                                                *params_of().min, *params_of().max,
                                                bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("Clip", Clip, "Limits each value to [min, max].");

}  // namespace pydl
