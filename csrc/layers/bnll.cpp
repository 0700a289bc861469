// BNLL: the binomial normal log likelihood, log(1 + exp(x)); also known as softplus.

#include "kernels/activation.h"
#include "layers/overwriting_layer.h"

namespace pydl {

class Bnll final : public OverwritingLayer<> {
 public:
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().bnll_forward(bottom[0]->count(), x,
                                               top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().bnll_backward(bottom[0]->count(), bottom[0]->data(format()), dy,
                                                bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("BNLL", Bnll, "Softplus: log(1 + exp(x)).");

}  // namespace pydl
