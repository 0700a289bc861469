// ReLU6: min(max(x, 0), 6), as MobileNets have it (Howard et al. 2017, arXiv:1704.04861). No
// gradient passes at exactly 6, nor at exactly 0 unless there is a slope.

#include "core/check.h"
#include "kernels/activation.h"
#include "pydl/layer.h"

namespace pydl {

struct Relu6Params {
  float negative_slope = 0;

  static auto fields() {
    return Fields("relu6_param",
                  Field("negative_slope", &Relu6Params::negative_slope, "slope left of 0"));
  }
};

// In place, the output tells the three branches apart, unless the slope turns signs.
class Relu6 final : public NeuronLayer<Relu6Params> {
 public:
  bool in_place() const override { return keeps_sign(); }
  bool keeps_sign() const override { return params_of().negative_slope >= 0; }
  float ceiling() const override { return params_of().negative_slope == 0 ? 6 : 0; }
  TopUse backward_reads_top() const override {
    return spec().top == spec().bottom ? TopUse::kData : TopUse::kNone;
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().relu6_forward(bottom[0]->count(), x, params_of().negative_slope,
                                                top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray x = bottom[0]->data(format()), dy = top[0]->diff(format());
    kernels::activation_kernels().relu6_backward(
        bottom[0]->count(), x, dy, params_of().negative_slope, bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("ReLU6", Relu6, "min(max(x, 0), 6); negative_slope x for x < 0.");

}  // namespace pydl
