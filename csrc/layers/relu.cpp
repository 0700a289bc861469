// ReLU: x for x > 0, negative_slope x otherwise (Nair & Hinton 2010; leaky: Maas et al. 2013).

#include "kernels/activation.h"
#include "layers/engine.h"
#include "pydl/layer.h"

namespace pydl {

struct ReluParams {
  float negative_slope = 0;
  Engine engine = Engine::kDefault;

  static auto fields() {
    return Fields("relu_param",
                  Field("negative_slope", &ReluParams::negative_slope, "slope left of 0"),
                  Field("engine", &ReluParams::engine, "accepted for Caffe's files; no effect"));
  }
};

class Relu final : public NeuronLayer<ReluParams> {
 public:
  // In place, the sign of the output tells the two branches apart. A negative slope turns the sign,
  // so that then the input is needed.
  bool in_place() const override { return keeps_sign(); }
  bool keeps_sign() const override { return params_of().negative_slope >= 0; }
  bool is_rectifier() const override { return params_of().negative_slope == 0; }
  TopUse backward_reads_top() const override {
    return keeps_sign() ? TopUse::kSign : TopUse::kNone;
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().relu_forward(bottom[0]->count(), x, params_of().negative_slope,
                                               top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().relu_backward(bottom[0]->count(), bottom[0]->data(format()), dy,
                                                params_of().negative_slope,
                                                bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("ReLU", Relu, "Rectified linear unit: x for x > 0, negative_slope x else.");

}  // namespace pydl
