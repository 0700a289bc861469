// Reverse: the values along some axes in the opposite order, for recurrent layers that go backward.

#include "core/check.h"
#include "kernels/movement.h"
#include "pydl/layer.h"

namespace pydl {

struct ReverseParams {
  std::vector<int32_t> axis;

  static auto fields() {
    return Fields("reverse_param",
                  Field("axis", &ReverseParams::axis, "axes to turn round; 0 if none is given"));
  }
};

class Reverse final : public LayerOf<ReverseParams> {
 public:
  bool backward_reads_bottom(int) const override { return false; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const std::vector<int32_t>& given = params_of().axis;
    reversed_.assign(bottom[0]->axes(), false);
    for (const int32_t axis : given.empty() ? std::vector<int32_t>{0} : given) {
      reversed_[bottom[0]->CanonicalAxis(axis)] = true;
    }
    top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    Copy(bottom[0]->shape(), bottom[0]->data(format()), top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    Copy(bottom[0]->shape(), top[0]->diff(format()), bottom[0]->mutable_diff(format()));
  }

 private:
  void Copy(const Shape& shape, ConstArray x, Array y) const {
    if (shape_count(shape) == 0) return;
    kernels::Box box{shape, Shape(shape.size()), Shape(shape.size())};
    int64_t stride = 1, last = 0;  // the place of x's first element in y
    for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) {
      box.x_stride[i] = stride;
      box.y_stride[i] = reversed_[i] ? -stride : stride;
      if (reversed_[i]) last += (shape[i] - 1) * stride;
    }
    kernels::copy_box(box, x, y.from(last));
  }

  std::vector<bool> reversed_;
};

PYDL_REGISTER_LAYER("Reverse", Reverse, "The values along some axes in the opposite order.");

}  // namespace pydl
