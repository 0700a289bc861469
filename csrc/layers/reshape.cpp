// Reshape: the same values in another shape.

#include "layers/shapes.h"
#include "layers/view_layer.h"

namespace pydl {

struct ReshapeParams {
  BlobShape shape;
  int32_t axis = 0, num_axes = -1;

  static auto fields() {
    using P = ReshapeParams;
    return Fields("reshape_param",
                  Field("shape", &P::shape, "new sizes; 0: as in the bottom, -1: what is left"),
                  Field("axis", &P::axis, "first axis to replace; -1: behind the last"),
                  Field("num_axes", &P::num_axes, "how many axes to replace; -1: all that follow"));
  }
};

class ReshapeLayer final : public ViewLayer<ReshapeParams> {
 public:
  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& old = bottom[0]->shape();
    const auto [begin, end] = Replaced(*bottom[0]);
    Shape shape(old.begin(), old.begin() + begin);
    int inferred = -1;
    for (const int64_t dim : params_of().shape.dim) {
      const auto axis = static_cast<int>(shape.size());
      check(dim >= -1, "shape has dim: ", dim, "; a size, 0 or -1 is expected");
      check(dim != 0 || axis < bottom[0]->axes(), "shape copies axis ", axis,
            " (dim: 0), which its bottom ", shape_text(old), " does not have");
      check(dim != -1 || inferred < 0,
            "shape has dim: -1 more than once; only one can be inferred");
      if (dim == -1) inferred = axis;
      shape.push_back(dim == 0 ? old[axis] : dim == -1 ? 1 : dim);
    }
    shape.insert(shape.end(), old.begin() + end, old.end());
    int64_t count = shape_count(shape);
    if (inferred >= 0) {
      check(count > 0 && bottom[0]->count() % count == 0, "cannot infer dim: -1: the ",
            bottom[0]->count(), " values of its bottom ", shape_text(old),
            " do not divide by the product ", count, " of the other sizes");
      shape[inferred] = bottom[0]->count() / count;
      count = bottom[0]->count();
    }
    check(count == bottom[0]->count(), "the new shape ", shape_text(shape), " has ", count,
          " values, but its bottom ", shape_text(old), " has ", bottom[0]->count());
    top[0]->Reshape(shape);
  }

 private:
  // The axes [begin, end) that are replaced; -1 is the place behind the last axis.
  std::pair<int, int> Replaced(const Blob& x) const {
    const int axis = params_of().axis, num_axes = params_of().num_axes;
    const int begin = axis < 0 ? x.axes() + axis + 1 : axis;
    check(begin >= 0 && begin <= x.axes(), "axis ", axis,
          " is out of range for its bottom of shape ", shape_text(x.shape()));
    check(num_axes >= -1 && num_axes <= x.axes() - begin, "num_axes ", num_axes, " from axis ",
          begin, " on is out of range for its bottom of shape ", shape_text(x.shape()));
    return {begin, num_axes < 0 ? x.axes() : begin + num_axes};
  }
};

PYDL_REGISTER_LAYER("Reshape", ReshapeLayer, "The same values in another shape.");

}  // namespace pydl
