// Concat: joins blobs along one axis.

#include "layers/axis_parts.h"

namespace pydl {

struct ConcatParams {
  std::optional<int32_t> axis;
  std::optional<uint32_t> concat_dim;

  static auto fields() {
    return Fields("concat_param",
                  Field("axis", &ConcatParams::axis, "the axis to join along; 1 if absent", 1),
                  Field("concat_dim", &ConcatParams::concat_dim, "old name of axis", 1));
  }
};

class Concat final : public LayerOf<ConcatParams> {
 public:
  Arity bottoms() const override { return {1, -1}; }
  bool is_view() const override { return spec().bottom.size() == 1; }
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
    std::vector<ConstArray> x;
    for (const Blob* b : bottom) x.push_back(b->data(format()));
    join({bottom, axis_, layout()}, x, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    std::vector<Array> dx(bottom.size());
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (down[i] != Propagate::kNo) dx[i] = bottom[i]->mutable_diff(format());
    }
    split({bottom, axis_, layout()}, top[0]->diff(format()), dx);
  }

 private:
  int axis_ = 1;
};

PYDL_REGISTER_LAYER("Concat", Concat, "Joins blobs along one axis.");

}  // namespace pydl
