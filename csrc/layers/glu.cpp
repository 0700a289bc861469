// GLU: a sigmoid(b), a and b the halves of an axis (Dauphin et al. 2017, arXiv:1612.08083).

#include "core/check.h"
#include "kernels/activation.h"
#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

struct GluParams {
  int32_t axis = -1;

  static auto fields() {
    return Fields("glu_param", Field("axis", &GluParams::axis, "the axis that is halved"));
  }
};

// bottom: (..., 2 C, ...)   top: (..., C, ...)
class Glu final : public LayerOf<GluParams> {
 public:
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    Shape shape = bottom[0]->shape();
    axis_ = bottom[0]->CanonicalAxis(params_of().axis);
    check(shape[axis_] % 2 == 0, "axis ", axis_, " of its bottom ", shape_text(shape),
          " cannot be halved");
    shape[axis_] /= 2;
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const AxisView v = axis_view(*top[0], axis_, layout());
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().glu_forward(v.outer, v.channels * v.inner, x,
                                              top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const AxisView v = axis_view(*top[0], axis_, layout());
    const ConstArray x = bottom[0]->data(format()), dy = top[0]->diff(format());
    kernels::activation_kernels().glu_backward(v.outer, v.channels * v.inner, x, dy,
                                               bottom[0]->mutable_diff(format()));
  }

 private:
  int axis_ = -1;
};

PYDL_REGISTER_LAYER(
    "GLU", Glu, "Gated linear unit: a sigmoid(b), where a and b are the two halves of an axis.");

}  // namespace pydl
