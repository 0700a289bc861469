// Maxout (Goodfellow et al. 2013, arXiv:1302.4389): each channel is the largest of `pieces` linear
// ones.

#include "core/check.h"
#include "kernels/activation.h"
#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

struct MaxoutParams {
  int32_t pieces = 2, axis = 1;

  static auto fields() {
    using P = MaxoutParams;
    return Fields("maxout_param",
                  Field("pieces", &P::pieces, "neighbouring channels of which the largest counts"),
                  Field("axis", &P::axis, "the channel axis"));
  }
};

// bottom: (..., C pieces, ...)   top: (..., C, ...)
class Maxout final : public LayerOf<MaxoutParams> {
 public:
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().pieces > 0, "pieces must be positive, got ", params_of().pieces);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    Shape shape = bottom[0]->shape();
    axis_ = bottom[0]->CanonicalAxis(params_of().axis);
    check(shape[axis_] % params_of().pieces == 0, "pieces ", params_of().pieces,
          " must divide axis ", axis_, " of its bottom ", shape_text(shape));
    shape[axis_] /= params_of().pieces;
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const AxisView v = axis_view(*top[0], axis_, layout());
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().maxout_forward(v.outer * v.channels, params_of().pieces, v.inner,
                                                 x, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const AxisView v = axis_view(*top[0], axis_, layout());
    const ConstArray x = bottom[0]->data(format()), dy = top[0]->diff(format());
    kernels::activation_kernels().maxout_backward(v.outer * v.channels, params_of().pieces, v.inner,
                                                  x, dy, bottom[0]->mutable_diff(format()));
  }

 private:
  int axis_ = -1;
};

PYDL_REGISTER_LAYER("Maxout", Maxout,
                    "The largest of each `pieces` neighbouring channels, which gets the gradient.");

}  // namespace pydl
