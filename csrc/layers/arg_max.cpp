// ArgMax: the numbers of the largest values of each item, or along an axis.

#include "kernels/arg_max.h"

#include <algorithm>

#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

struct ArgMaxParams {
  bool out_max_val = false;
  uint32_t top_k = 1;
  std::optional<int32_t> axis;

  static auto fields() {
    using P = ArgMaxParams;
    return Fields("argmax_param",
                  Field("out_max_val", &P::out_max_val,
                        "give the values: behind the numbers, or with axis in their place"),
                  Field("top_k", &P::top_k, "how many of the largest values"),
                  Field("axis", &P::axis, "the axis to search along; all but the first if absent"));
  }
};

// bottom: (outer, n, inner)
// top:    with axis (outer, top_k, inner), numbers or values; else (N, 1, top_k) numbers or
//         (N, 2, top_k) numbers and values, with as many axes as the bottom, at least three
//
// As in Caffe, the later one of equal values comes first.
class ArgMax final : public LayerOf<ArgMaxParams> {
 public:
  bool can_propagate(int) const override { return false; }
  Layouts layouts() const override {
    return params_of().axis && axis_ == 1 ? Layouts::kAny : Layouts::kPlain;
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const auto& p = params_of();
    const int64_t k = p.top_k;
    axis_ = p.axis ? x.CanonicalAxis(*p.axis) : 1;
    check(x.axes() >= 1, "its bottom must have items along axis 0, but is a scalar");
    const int64_t n = p.axis ? x.shape(axis_) : x.count(1);
    check(k >= 1 && k <= n, "top_k ", k, " is not in 1 to ", n,
          ", the number of values to search (", p.axis ? text("axis ", axis_) : "each item", " of ",
          shape_text(x.shape()), ")");
    Shape shape = x.shape();
    if (p.axis) {
      shape[axis_] = k;
    } else {
      shape.assign(std::max(x.axes(), 3), 1);
      shape[0] = x.shape(0), shape[1] = p.out_max_val ? 2 : 1, shape[2] = k;
    }
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const auto& p = params_of();
    const int64_t k = p.top_k;
    const float* from = x.data(layout());
    float* y = top[0]->mutable_data(layout());
    const auto& kernels = kernels::arg_max_kernels();
    if (p.axis) {
      const AxisView v = axis_view(x, axis_, layout());
      const kernels::ArgMaxShape shape{v.outer, v.channels, v.inner, k, k * v.inner};
      kernels.largest(shape, from, p.out_max_val ? nullptr : y, p.out_max_val ? y : nullptr);
    } else {
      const int64_t stride = p.out_max_val ? 2 * k : k;
      const kernels::ArgMaxShape shape{x.shape(0), x.count(1), 1, k, stride};
      kernels.largest(shape, from, y, p.out_max_val ? y + k : nullptr);
    }
  }

 private:
  int axis_ = 1;
};

PYDL_REGISTER_LAYER("ArgMax", ArgMax,
                    "The numbers of the largest values of each item or along an axis, and the "
                    "values if wanted. Of equal values the later one comes first.");

}  // namespace pydl
