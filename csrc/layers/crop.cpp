// Crop: a part of a blob, as large as another one.

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/movement.h"
#include "pydl/layer.h"

namespace pydl {

struct CropParams {
  int32_t axis = 2;
  std::vector<uint32_t> offset;

  static auto fields() {
    using P = CropParams;
    return Fields("crop_param",
                  Field("axis", &P::axis, "first axis to crop; those after it are as well"),
                  Field("offset", &P::offset,
                        "where the part begins: one for all axes, or one for each; 0 if absent"));
  }
};

// bottoms: the blob, and one whose sizes from `axis` on are wanted; of that nothing else is read
class Crop final : public LayerOf<CropParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int) const override { return false; }
  Layouts layouts() const override { return Layouts::kAny; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape &from = bottom[0]->shape(), &like = bottom[1]->shape();
    const auto axis = static_cast<size_t>(bottom[0]->CanonicalAxis(params_of().axis));
    const auto& given = params_of().offset;
    check(given.size() <= 1 || axis + given.size() == from.size(), "offset is given ", given.size(),
          " times; give it once, or once for each of the ", from.size() - axis, " axes from ", axis,
          " on of its bottom ", shape_text(from));
    check(like.size() >= from.size(), "the second bottom ", shape_text(like),
          ", whose sizes are wanted, has fewer axes than the first, ", shape_text(from));
    Shape shape = from;
    offset_.assign(from.size(), 0);
    for (size_t i = axis; i < from.size(); ++i) {
      shape[i] = like[i];
      if (!given.empty()) offset_[i] = given.size() == 1 ? given[0] : given[i - axis];
      check(offset_[i] + shape[i] <= from[i], "along axis ", i, ", ", shape[i],
            " values from offset ", offset_[i], " on are more than the ", from[i],
            " of its bottom ", shape_text(from));
    }
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const Blob &x = *bottom[0], &y = *top[0];
    const ConstArray from = x.data(format()).from(Offset(x));
    kernels::copy_box({InOrder(y.shape()), Strides(x), Strides(y)}, from,
                      top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const Blob &x = *bottom[0], &y = *top[0];
    const Array dx = bottom[0]->mutable_diff(format());
    if (y.count() != x.count()) kernels::eltwise_kernels().fill(x.count(), 0, dx);
    kernels::copy_box({InOrder(y.shape()), Strides(y), Strides(x)}, y.diff(format()),
                      dx.from(Offset(x)));
  }

 private:
  // Of (N, C, spatial...), in the order in which the axes lie in memory.
  Shape InOrder(Shape values) const {
    const bool last = layout() == Layout::kChannelsLast && values.size() > 2;
    if (last) std::rotate(values.begin() + 1, values.begin() + 2, values.end());
    return values;
  }

  Shape Strides(const Blob& blob) const {
    const Shape shape = InOrder(blob.shape());
    Shape strides(shape.size(), 1);
    for (size_t i = shape.size() - 1; i-- > 0;) strides[i] = strides[i + 1] * shape[i + 1];
    return strides;
  }

  int64_t Offset(const Blob& x) const {
    const Shape offsets = InOrder(offset_), strides = Strides(x);
    int64_t sum = 0;
    for (size_t i = 0; i < offsets.size(); ++i) sum += offsets[i] * strides[i];
    return sum;
  }

  Shape offset_;
};

PYDL_REGISTER_LAYER("Crop", Crop,
                    "A part of the first bottom with the sizes of the second, from an axis on.");

}  // namespace pydl
