// Axpy (SENet; Hu et al. 2018, arXiv:1709.01507): a x + y, with a factor per item and channel.

#include "core/check.h"
#include "kernels/eltwise.h"
#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: a (N, C, 1, 1), x (N, C, ...), y (N, C, ...)   top: (N, C, ...)
class Axpy final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {3, 3}; }
  Layouts layouts() const override { return Layouts::kAny; }
  DTypes dtypes() const override { return DTypes::kAny; }
  bool backward_reads_bottom(int bottom) const override { return bottom < 2; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &a = *bottom[0], &x = *bottom[1], &y = *bottom[2];
    check(x.axes() >= 2 && a.axes() >= 2 && a.shape(0) == x.shape(0) && a.shape(1) == x.shape(1) &&
              a.count(2) == 1,
          "needs one factor for each item and channel of its second bottom ", shape_text(x.shape()),
          ", but the first, the factors, is ", shape_text(a.shape()));
    check(x.shape() == y.shape(), "its second and third bottoms must have one shape, got ",
          shape_text(x.shape()), " and ", shape_text(y.shape()));
    top[0]->ReshapeLike(x);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[1]->data(format()), y = bottom[2]->data(format());
    const float* a = bottom[0]->data();
    const Array out = top[0]->mutable_data(format());
    ForEachPart(*bottom[1], [&](const AxisView& v, int64_t factors, int64_t values) {
      kernels::eltwise_kernels().multiply_add(v.outer, v.channels, v.inner, x.from(values),
                                              a + factors, y.from(values), out.from(values));
    });
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto& kernels = kernels::eltwise_kernels();
    const ConstArray dout = top[0]->diff(format());
    if (down[0] != Propagate::kNo) {
      const ConstArray x = bottom[1]->data(format());
      float* da = bottom[0]->mutable_diff();
      kernels.fill(bottom[0]->count(), 0, da);
      ForEachPart(*bottom[1], [&](const AxisView& v, int64_t factors, int64_t values) {
        kernels.affine_backward_params(v.outer, v.channels, v.inner, x.from(values),
                                       dout.from(values), da + factors, nullptr);
      });
    }
    if (down[1] != Propagate::kNo) {
      const float* a = bottom[0]->data();
      const Array dx = bottom[1]->mutable_diff(format());
      ForEachPart(*bottom[1], [&](const AxisView& v, int64_t factors, int64_t values) {
        kernels.affine_forward(v.outer, v.channels, v.inner, dout.from(values), a + factors,
                               nullptr, dx.from(values));
      });
    }
    if (down[2] != Propagate::kNo) {
      kernels.axpby(top[0]->count(), 1, dout, 0, bottom[2]->mutable_diff(format()));
    }
  }

 private:
  // body(view, where its factors begin, where its values begin): for parts of x that have a factor
  // per channel of the view. Plain: all of it, as N C channels. Channels-last: each item.
  template <class Body>
  void ForEachPart(const Blob& x, const Body& body) const {
    const int64_t items = x.shape(0), channels = x.shape(1), inner = x.count(2);
    if (layout() == Layout::kPlain) return body(AxisView{1, items * channels, inner}, 0, 0);
    for (int64_t n = 0; n < items; ++n) {
      body(AxisView{inner, channels, 1}, n * channels, n * channels * inner);
    }
  }
};

PYDL_REGISTER_LAYER("Axpy", Axpy,
                    "a x + y of three bottoms, with a factor a for each item and channel (SENet).");

}  // namespace pydl
