// AbsVal: |x|. The gradient at 0 is 0.

#include "core/check.h"
#include "kernels/activation.h"
#include "pydl/layer.h"

namespace pydl {

class AbsVal final : public NeuronLayer<> {
 public:
  bool in_place() const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(spec().top[0] != spec().bottom[0], "cannot work in place: give its top \"", spec().top[0],
          "\" a name that differs from its bottom's");
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::activation_kernels().abs_forward(bottom[0]->count(), bottom[0]->data(format()),
                                              top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::activation_kernels().abs_backward(bottom[0]->count(), bottom[0]->data(format()),
                                               top[0]->diff(format()),
                                               bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("AbsVal", AbsVal, "Absolute value.");

}  // namespace pydl
