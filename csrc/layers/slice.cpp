// Slice: cuts a blob into several along one axis.

#include "layers/axis_parts.h"

namespace pydl {

struct SliceParams {
  std::optional<int32_t> axis;
  std::vector<uint32_t> slice_point;
  std::optional<uint32_t> slice_dim;

  static auto fields() {
    using P = SliceParams;
    return Fields("slice_param", Field("axis", &P::axis, "the axis to cut along; 1 if absent", 1),
                  Field("slice_point", &P::slice_point,
                        "where each top but the first begins; parts of one size if absent"),
                  Field("slice_dim", &P::slice_dim, "old name of axis", 1));
  }
};

class Slice final : public LayerOf<SliceParams> {
 public:
  Arity tops() const override { return {1, -1}; }
  bool is_view() const override { return spec().top.size() == 1; }
  bool backward_reads_bottom(int) const override { return false; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(!(params_of().axis && params_of().slice_dim),
          "give either axis or slice_dim (its old name), not both");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const std::optional<uint32_t> old_axis = params_of().slice_dim;
    check(!old_axis || *old_axis < static_cast<uint32_t>(x.axes()), "slice_dim ",
          old_axis.value_or(0), " is out of range for its bottom of shape ", shape_text(x.shape()));
    axis_ = old_axis ? static_cast<int>(*old_axis) : x.CanonicalAxis(params_of().axis.value_or(1));
    const std::vector<int64_t> ends = Ends(x, static_cast<int64_t>(top.size()));
    Shape shape = x.shape();
    int64_t begin = 0;
    for (size_t i = 0; i < top.size(); ++i) {
      shape[axis_] = ends[i] - begin;
      top[i]->Reshape(shape);
      begin = ends[i];
    }
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    std::vector<Array> y;
    for (Blob* t : top) y.push_back(t->mutable_data(format()));
    split({top, axis_, layout()}, bottom[0]->data(format()), y);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    std::vector<ConstArray> dy;
    for (const Blob* t : top) dy.push_back(t->diff(format()));
    join({top, axis_, layout()}, dy, bottom[0]->mutable_diff(format()));
  }

 private:
  // Where each top ends along the axis.
  std::vector<int64_t> Ends(const Blob& x, int64_t tops) const {
    const auto& points = params_of().slice_point;
    const int64_t size = x.shape(axis_);
    std::vector<int64_t> ends(points.begin(), points.end());
    if (ends.empty()) {
      check(size % tops == 0, "cannot cut axis ", axis_, " of its bottom ", shape_text(x.shape()),
            " into ", tops, " parts of one size; give slice_point");
      for (int64_t i = 1; i <= tops; ++i) ends.push_back(size / tops * i);
      return ends;
    }
    check(static_cast<int64_t>(ends.size()) == tops - 1, "slice_point is given ", ends.size(),
          " time(s) for ", tops, " tops; ", tops - 1, " expected, where all but the first begin");
    check(tops <= size, "axis ", axis_, " of its bottom ", shape_text(x.shape()),
          " cannot be cut into ", tops, " parts");
    for (size_t i = 0; i < ends.size(); ++i) {
      const int64_t before = i == 0 ? 0 : ends[i - 1];
      check(ends[i] > before && ends[i] <= size, "slice_point ", ends[i], " is not in ", before + 1,
            " to ", size, "; points must grow along axis ", axis_, " of its bottom ",
            shape_text(x.shape()));
    }
    ends.push_back(size);
    return ends;
  }

  int axis_ = 1;
};

PYDL_REGISTER_LAYER("Slice", Slice, "Cuts a blob into several along one axis.");

}  // namespace pydl
