// InstanceNorm (Ulyanov et al. 2016, arXiv:1607.08022), as torch.nn.InstanceNorm2d has it without
// running statistics.

#include "layers/group_norm_layer.h"

namespace pydl {

struct InstanceNormParams {
  float eps = 1e-5f;
  bool affine = false;

  static auto fields() {
    using P = InstanceNormParams;
    return Fields("instance_norm_param", Field("eps", &P::eps, "added to the variance"),
                  Field("affine", &P::affine, "learn a factor and a bias for each channel"));
  }
};

class InstanceNorm final : public GroupNormLayer<InstanceNormParams> {
 private:
  int64_t groups(int64_t channels) const override { return channels; }
  void CheckSize(const Blob& bottom, int64_t size) const override {
    check(size > 1, "a channel of its bottom ", shape_text(bottom.shape()),
          " has one value, which normalised is always 0; did you mean GroupNorm or LayerNorm?");
  }
};

PYDL_REGISTER_LAYER("InstanceNorm", InstanceNorm,
                    "Gives each channel of an image mean 0 and variance 1; if asked to, multiplies "
                    "channels by learned factors and adds learned biases. Its blobs are those of "
                    "torch.nn.InstanceNorm2d: weight, bias.");

}  // namespace pydl
