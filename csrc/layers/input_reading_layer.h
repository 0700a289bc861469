// Base of the elementwise layers whose gradient in place is right too: they keep their input.
#pragma once

#include "layers/kept_input.h"
#include "layers/overwriting_layer.h"

namespace pydl {

template <class... P>
class InputReadingLayer : public OverwritingLayer<P...> {
 public:
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t n = bottom[0]->count();
    const ConstArray x = bottom[0]->data(this->format());
    if (bottom[0] == top[0] && this->needs_backward()) x_.keep(n, x);
    Apply(n, x, top[0]->mutable_data(this->format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray x = bottom[0] == top[0] ? x_.get() : bottom[0]->data(this->format());
    const ConstArray dy = top[0]->diff(this->format());
    ApplyGradient(bottom[0]->count(), x, dy, bottom[0]->mutable_diff(this->format()));
  }

 protected:
  virtual void Apply(int64_t n, ConstArray x, Array y) const = 0;
  virtual void ApplyGradient(int64_t n, ConstArray x, ConstArray dy, Array dx) const = 0;

 private:
  KeptInput x_;
};

}  // namespace pydl
