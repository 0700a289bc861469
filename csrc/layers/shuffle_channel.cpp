// ShuffleChannel (Zhang et al. 2018, arXiv:1707.01083): the channels as (groups, C / groups),
// transposed.

#include "core/check.h"
#include "kernels/movement.h"
#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

struct ShuffleChannelParams {
  uint32_t group = 1;

  static auto fields() {
    return Fields("shuffle_channel_param",
                  Field("group", &ShuffleChannelParams::group,
                        "groups of channels: the top takes one channel of each in turn"));
  }
};

// bottom, top: (N, C, ...)
class ShuffleChannel final : public LayerOf<ShuffleChannelParams> {
 public:
  Layouts layouts() const override { return Layouts::kAny; }
  DTypes dtypes() const override { return DTypes::kAny; }
  bool backward_reads_bottom(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const uint32_t group = params_of().group;
    check(x.axes() >= 2, "needs a bottom with a channel axis (2 or more axes), got shape ",
          shape_text(x.shape()));
    check(group > 0 && x.shape(1) % group == 0, "group ", group, " must divide the ", x.shape(1),
          " channels of its bottom ", shape_text(x.shape()));
    top[0]->ReshapeLike(x);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::copy_box(view(*bottom[0]), bottom[0]->data(format()), top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::Box box = view(*bottom[0]);
    std::swap(box.x_stride, box.y_stride);
    kernels::copy_box(box, top[0]->diff(format()), bottom[0]->mutable_diff(format()));
  }

 private:
  // (outer, group, channel in its group, inner)
  kernels::Box view(const Blob& x) const {
    const AxisView v = axis_view(x, 1, layout());
    const int64_t group = params_of().group, size = v.channels / group;
    const int64_t image = v.channels * v.inner;
    return {{v.outer, group, size, v.inner},
            {image, size * v.inner, v.inner, 1},
            {image, v.inner, group * v.inner, 1}};
  }
};

PYDL_REGISTER_LAYER("ShuffleChannel", ShuffleChannel,
                    "Channels of several groups in turn: the first of each, then the second of "
                    "each, and so on (ShuffleNet).");

}  // namespace pydl
