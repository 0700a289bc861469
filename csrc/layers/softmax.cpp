// Softmax: exp(x) / sum of exp(x), along one axis.

#include "kernels/softmax.h"

#include "layers/axis_view.h"
#include "layers/softmax_params.h"
#include "pydl/layer.h"

namespace pydl {

class Softmax final : public LayerOf<SoftmaxParams> {
 public:
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  bool in_place() const override { return true; }
  TopUse backward_reads_top() const override { return TopUse::kData; }
  bool backward_reads_bottom(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axis_ = bottom[0]->CanonicalAxis(params_of().axis);
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const AxisView v = axis_view(*bottom[0], axis_, layout());
    const float* x = bottom[0]->data(layout());
    kernels::softmax_kernels().forward({v.outer, v.channels, v.inner}, x,
                                       top[0]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const AxisView v = axis_view(*bottom[0], axis_, layout());
    const float* dy = top[0]->diff(layout());
    kernels::softmax_kernels().backward({v.outer, v.channels, v.inner}, top[0]->data(layout()), dy,
                                        bottom[0]->mutable_diff(layout()));
  }

 private:
  int axis_ = 1;
};

PYDL_REGISTER_LAYER("Softmax", Softmax, "Probabilities from scores: exp(x) / sum of exp(x).");

}  // namespace pydl
