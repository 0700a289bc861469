// Upsample (SegNet; Badrinarayanan et al. 2017, arXiv:1511.00561): the values of a maximum pooling
// put back to where the maxima were, zeros elsewhere.

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/movement.h"
#include "layers/labels.h"
#include "pydl/layer.h"

namespace pydl {

struct UpsampleParams {
  std::optional<int32_t> scale, scale_h, scale_w, upsample_h, upsample_w;
  bool pad_out_h = false, pad_out_w = false;

  static auto fields() {
    using P = UpsampleParams;
    return Fields(
        "upsample_param", Field("scale", &P::scale, "height and width grow by it; 2 if absent", 2),
        Field("scale_h", &P::scale_h, "the height grows by it; goes with scale_w"),
        Field("scale_w", &P::scale_w, "the width grows by it; goes with scale_h"),
        Field("pad_out_h", &P::pad_out_h, "one row less, for an odd height; with scale 2 only"),
        Field("pad_out_w", &P::pad_out_w, "one column less, for an odd width; with scale 2 only"),
        Field("upsample_h", &P::upsample_h, "height of the top; goes with upsample_w"),
        Field("upsample_w", &P::upsample_w, "width of the top; goes with upsample_h"));
  }
};

// bottoms: values (N, C, h, w), and of each its index in a plane of the top, as the second top of a
// Pooling layer gives them   top: (N, C, H, W)
//
// Where several values go to one place the last stays, and each gets that place's gradient, as in
// SegNet: overlapping windows that have one maximum share it.
class Upsample final : public LayerOf<UpsampleParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }
  Layouts layouts() const override { return Layouts::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    const UpsampleParams& p = params_of();
    CheckPair("scale", p.scale_h, p.scale_w);
    CheckPair("upsample", p.upsample_h, p.upsample_w);
    check(!(p.scale && p.scale_h), "give either scale, or scale_h and scale_w, not both");
    const int32_t scales[] = {p.scale_h.value_or(p.scale.value_or(2)),
                              p.scale_w.value_or(p.scale.value_or(2))};
    if (p.upsample_h) return;
    for (const int32_t scale : scales) check(scale > 1, "scale must be at least 2, got ", scale);
    check((!p.pad_out_h || scales[0] == 2) && (!p.pad_out_w || scales[1] == 2),
          "pad_out_h and pad_out_w go with scale 2 only, got ", scales[0], " and ", scales[1],
          "; give upsample_h and upsample_w instead");
    scale_h_ = scales[0];
    scale_w_ = scales[1];
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const UpsampleParams& p = params_of();
    const Shape& x = bottom[0]->shape();
    check(x.size() == 4, "needs bottoms of 4 axes (N, C, H, W), got shape ", shape_text(x));
    check(bottom[1]->shape() == x, "needs an index for each of its values: the first bottom is ",
          shape_text(x), ", the second, the indices, ", shape_text(bottom[1]->shape()));
    Shape y{x[0], x[1], x[2] * scale_h_ - p.pad_out_h, x[3] * scale_w_ - p.pad_out_w};
    if (p.upsample_h) y = {x[0], x[1], *p.upsample_h, *p.upsample_w};
    top[0]->Reshape(y);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const kernels::PlaneShape shape = planes(bottom, top);
    const float *x = bottom[0]->data(layout()), *index = bottom[1]->data(layout());
    float* y = top[0]->mutable_data(layout());
    kernels::eltwise_kernels().fill(top[0]->count(), 0, y);
    if (!kernels::scatter_in_planes(shape, x, index, y)) FailAtIndex(bottom, top);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const float *dy = top[0]->diff(layout()), *index = bottom[1]->data(layout());
    float* dx = bottom[0]->mutable_diff(layout());
    if (!kernels::gather_in_planes(planes(bottom, top), dy, index, dx)) FailAtIndex(bottom, top);
  }

 private:
  static void CheckPair(const char* name, std::optional<int32_t> h, std::optional<int32_t> w) {
    check(h.has_value() == w.has_value(), name, "_h and ", name, "_w go together, but only ", name,
          h ? "_h" : "_w", " is given");
    check(h.value_or(1) >= 1 && w.value_or(1) >= 1, name, "_h and ", name,
          "_w must be at least 1, got ", h.value_or(1), " and ", w.value_or(1));
  }

  static void FailAtIndex(const Blobs& bottom, const Blobs& top) {
    const int64_t h = top[0]->shape(2), w = top[0]->shape(3);
    check_indices(*bottom[1], h * w,
                  ", the positions of a plane of the top, " + shape_text({h, w}) +
                      "; give upsample_h and upsample_w: the size of what was pooled");
  }

  kernels::PlaneShape planes(const Blobs& bottom, const Blobs& top) const {
    const Blob& x = *bottom[0];
    return {x.shape(0), x.shape(1), x.count(2), top[0]->count(2),
            layout() == Layout::kChannelsLast};
  }

  int64_t scale_h_ = 2, scale_w_ = 2;
};

PYDL_REGISTER_LAYER("Upsample", Upsample,
                    "Undoes maximum pooling by the indices that it gave: each value goes to where "
                    "its maximum was, the rest is 0 (SegNet).");

}  // namespace pydl
