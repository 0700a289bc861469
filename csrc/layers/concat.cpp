// Concat: joins blobs along one axis.

#include "kernels/eltwise.h"
#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

struct ConcatParams {
  std::optional<int32_t> axis;
  std::optional<uint32_t> concat_dim;

  static auto fields() {
    return Fields("concat_param",
                  Field("axis", &ConcatParams::axis, "the axis to join along; 1 if absent"),
                  Field("concat_dim", &ConcatParams::concat_dim, "old name of axis"));
  }
};

class Concat final : public LayerOf<ConcatParams> {
 public:
  Arity bottoms() const override { return {1, -1}; }
  bool backward_reads_bottom(int) const override { return false; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(!(params_of().axis && params_of().concat_dim),
          "give either axis or concat_dim (its old name), not both");
  }
  DTypes dtypes() const override { return DTypes::kAny; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const auto old_axis = static_cast<int>(params_of().concat_dim.value_or(1));
    axis_ = bottom[0]->CanonicalAxis(params_of().axis.value_or(old_axis));
    Shape joined = bottom[0]->shape();
    for (size_t i = 1; i < bottom.size(); ++i) {
      Shape shape = bottom[i]->shape();
      const bool fits = shape.size() == joined.size();
      if (fits) joined[axis_] += shape[axis_], shape[axis_] = joined[axis_];
      check(fits && shape == joined, "its bottoms may differ along axis ", axis_, " only, but \"",
            spec_.bottom[0], "\" is ", shape_text(bottom[0]->shape()), " and \"", spec_.bottom[i],
            "\" is ", shape_text(bottom[i]->shape()));
    }
    top[0]->Reshape(joined);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t stride = row(*top[0]);
    Array y = top[0]->mutable_data(format());
    for (const Blob* b : bottom) {
      const int64_t length = row(*b);
      kernels::eltwise_kernels().copy_rows(rows(*b), length, b->data(format()), length, y, stride);
      y = y.from(length);
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t stride = row(*top[0]);
    ConstArray dy = top[0]->diff(format());
    for (size_t i = 0; i < bottom.size(); ++i) {
      const int64_t length = row(*bottom[i]);
      if (down[i] != Propagate::kNo) {
        kernels::eltwise_kernels().copy_rows(rows(*bottom[i]), length, dy, stride,
                                             bottom[i]->mutable_diff(format()), length);
      }
      dy = dy.from(length);
    }
  }

 private:
  int64_t rows(const Blob& blob) const { return axis_view(blob, axis_, layout()).outer; }
  int64_t row(const Blob& blob) const {
    const AxisView v = axis_view(blob, axis_, layout());
    return v.channels * v.inner;
  }

  int axis_ = 1;
};

PYDL_REGISTER_LAYER("Concat", Concat, "Joins blobs along one axis.");

}  // namespace pydl
