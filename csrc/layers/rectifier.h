// Base of the layers that are x for x > 0, and negative_slope x otherwise.
#pragma once

#include "kernels/activation.h"
#include "pydl/layer.h"

namespace pydl {

template <class P>
class Rectifier : public NeuronLayer<P> {
 public:
  // In place, the sign of the output tells the two branches apart. A negative slope turns the sign,
  // so that then the input is needed.
  bool in_place() const override { return keeps_sign(); }
  bool keeps_sign() const override { return slope() >= 0; }
  bool is_rectifier() const override { return slope() == 0; }
  TopUse backward_reads_top() const override {
    return keeps_sign() ? TopUse::kSign : TopUse::kNone;
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(this->format());
    kernels::activation_kernels().relu_forward(bottom[0]->count(), x, slope(),
                                               top[0]->mutable_data(this->format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(this->format());
    kernels::activation_kernels().relu_backward(bottom[0]->count(), bottom[0]->data(this->format()),
                                                dy, slope(),
                                                bottom[0]->mutable_diff(this->format()));
  }

 private:
  float slope() const { return this->params_of().negative_slope; }
};

}  // namespace pydl
