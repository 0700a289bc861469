// SELU: scale (x for x > 0, alpha (exp(x) - 1) otherwise), whose constants lead activations to mean
// 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515).

#include "kernels/activation.h"
#include "pydl/layer.h"

namespace pydl {

class Selu final : public NeuronLayer<> {
 public:
  TopUse backward_reads_top() const override { return TopUse::kData; }
  bool backward_reads_bottom(int) const override { return false; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().selu_forward(bottom[0]->count(), x,
                                               top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray y = top[0]->data(format()), dy = top[0]->diff(format());
    kernels::activation_kernels().selu_backward(bottom[0]->count(), y, dy,
                                                bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("SELU", Selu,
                    "Scaled exponential linear unit: 1.0507 (x for x > 0, 1.6733 (exp(x) - 1) "
                    "else).");

}  // namespace pydl
