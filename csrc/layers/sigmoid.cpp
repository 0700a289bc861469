// Sigmoid: 1 / (1 + exp(-x)).

#include "kernels/activation.h"
#include "layers/engine.h"
#include "pydl/layer.h"

namespace pydl {

struct SigmoidParams {
  Engine engine = Engine::kDefault;

  static auto fields() {
    return Fields("sigmoid_param",
                  Field("engine", &SigmoidParams::engine, "accepted for Caffe's files; no effect"));
  }
};

class Sigmoid final : public NeuronLayer<SigmoidParams> {
 public:
  TopUse backward_reads_top() const override { return TopUse::kData; }
  bool backward_reads_bottom(int) const override { return false; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().sigmoid_forward(bottom[0]->count(), x,
                                                  top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().sigmoid_backward(bottom[0]->count(), top[0]->data(format()), dy,
                                                   bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("Sigmoid", Sigmoid, "Logistic function: 1 / (1 + exp(-x)).");

}  // namespace pydl
