// Reorg (YOLOv2; Redmon & Farhadi 2017, arXiv:1612.08242) as darknet does it: no space-to-depth of
// its bottom (C, H, W), but of the same memory taken as (C / s^2, H s, W s).

#include "core/check.h"
#include "kernels/movement.h"
#include "pydl/layer.h"

namespace pydl {

struct ReorgParams {
  uint32_t stride = 2;
  bool reverse = false;

  static auto fields() {
    using P = ReorgParams;
    return Fields(
        "reorg_param", Field("stride", &P::stride, "by which height and width shrink (or grow)"),
        Field("reverse", &P::reverse, "make height and width larger, and the channels fewer"));
  }
};

// bottom: (N, C, H, W)   top: (N, C s^2, H / s, W / s), or in reverse (N, C / s^2, H s, W s)
class Reorg final : public LayerOf<ReorgParams> {
 public:
  DTypes dtypes() const override { return DTypes::kAny; }
  bool backward_reads_bottom(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& x = bottom[0]->shape();
    check(x.size() == 4, "needs a bottom of 4 axes (N, C, H, W), got shape ", shape_text(x));
    const int64_t s = params_of().stride;
    check(s > 0, "stride must be positive");
    check(s < (1 << 15) && x[1] % (s * s) == 0, "stride ", s,
          " needs a multiple of stride^2 = ", s * s, " channels, but its bottom is ",
          shape_text(x));
    if (params_of().reverse) return top[0]->Reshape({x[0], x[1] / (s * s), x[2] * s, x[3] * s});
    check(x[2] % s == 0 && x[3] % s == 0, "stride ", s, " must divide the height and the width of ",
          "its bottom ", shape_text(x));
    top[0]->Reshape({x[0], x[1] * s * s, x[2] / s, x[3] / s});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::copy_box(view(bottom[0]->shape(), params_of().reverse), bottom[0]->data(format()),
                      top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::copy_box(view(bottom[0]->shape(), !params_of().reverse), top[0]->diff(format()),
                      bottom[0]->mutable_diff(format()));
  }

 private:
  // From (N, C / s^2, H s, W s) to (N, s, s, C / s^2, H, W), for the bottom's C, H and W in either
  // direction; `back`: from the second to the first.
  kernels::Box view(const Shape& x, bool back) const {
    const int64_t s = params_of().stride, c = x[1] / (s * s), h = x[2], w = x[3];
    kernels::Box box{{x[0], s, s, c, h, w},
                     {x[1] * h * w, w * s, 1, h * s * w * s, s * w * s, s},
                     {x[1] * h * w, s * c * h * w, c * h * w, h * w, w, 1}};
    if (back) std::swap(box.x_stride, box.y_stride);
    return box;
  }
};

PYDL_REGISTER_LAYER("Reorg", Reorg,
                    "Darknet's passthrough: stride^2 times the channels, of an image so much "
                    "smaller. The memory is taken as (C / stride^2, H stride, W stride) first.");

}  // namespace pydl
