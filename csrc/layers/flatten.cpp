// Flatten: makes one axis of several.

#include "layers/view_layer.h"

namespace pydl {

struct FlattenParams {
  int32_t axis = 1, end_axis = -1;

  static auto fields() {
    return Fields("flatten_param",
                  Field("axis", &FlattenParams::axis, "first axis that goes into the new one"),
                  Field("end_axis", &FlattenParams::end_axis, "last such axis"));
  }
};

class Flatten final : public ViewLayer<FlattenParams> {
 public:
  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const int first = x.CanonicalAxis(params_of().axis),
              last = x.CanonicalAxis(params_of().end_axis);
    check(first <= last, "axis ", first, " comes after end_axis ", last, " in a bottom of shape ",
          shape_text(x.shape()));
    Shape shape(x.shape().begin(), x.shape().begin() + first);
    shape.push_back(x.count(first, last + 1));
    shape.insert(shape.end(), x.shape().begin() + last + 1, x.shape().end());
    top[0]->Reshape(shape);
  }
};

PYDL_REGISTER_LAYER("Flatten", Flatten, "Makes one axis of the axes from axis to end_axis.");

}  // namespace pydl
