// FlowWarp: an image moved along a flow (FlowNet 2; Ilg et al. 2017, arXiv:1612.01925).

#include "kernels/flow_warp.h"

#include <limits>

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

enum class WarpFill { kZero = 1, kNotANumber = 2 };
constexpr std::array<EnumName, 2> enum_names(WarpFill) {
  return {{{"ZERO", 1}, {"NOT_A_NUMBER", 2}}};
}

struct FlowWarpParams {
  WarpFill fill_value = WarpFill::kZero;

  static auto fields() {
    return Fields("flow_warp_param",
                  Field("fill_value", &FlowWarpParams::fill_value, "what comes from outside"));
  }
};

// bottoms: image (N, C, H, W), flow (N, 2, H, W): how far to the right and down each pixel of the
//          top looks
// top: (N, C, H, W)
class FlowWarp final : public LayerOf<FlowWarpParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape &image = bottom[0]->shape(), &flow = bottom[1]->shape();
    const bool match = image.size() == 4 && flow == Shape{image[0], 2, image[2], image[3]};
    check(match, "needs an image N x C x H x W and its flow N x 2 x H x W, got ", shape_text(image),
          " and ", shape_text(flow));
    check(image[2] * image[3] <= std::numeric_limits<int32_t>::max(), "images of ",
          shape_text(image), " are too large: at most 2^31 - 1 pixels");
    shape_ = {image[0], image[1], image[2], image[3]};
    top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const bool zero = params_of().fill_value == WarpFill::kZero;
    kernels::flow_warp_forward(shape_, bottom[0]->data(), bottom[1]->data(),
                               zero ? 0 : std::numeric_limits<float>::quiet_NaN(),
                               top[0]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const float *image = bottom[0]->data(), *flow = bottom[1]->data(), *dy = top[0]->diff();
    if (down[0] != Propagate::kNo) {
      kernels::flow_warp_backward_image(shape_, flow, dy, bottom[0]->mutable_diff());
    }
    if (down[1] != Propagate::kNo) {
      kernels::flow_warp_backward_flow(shape_, image, flow, dy, bottom[1]->mutable_diff());
    }
  }

 private:
  kernels::FlowWarpShape shape_{};
};

PYDL_REGISTER_LAYER("FlowWarp", FlowWarp,
                    "An image moved along a flow: each pixel from where its flow points, between "
                    "four pixels of the image.");

}  // namespace pydl
