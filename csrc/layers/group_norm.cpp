// GroupNorm (Wu & He 2018, arXiv:1803.08494), as torch.nn.GroupNorm has it.

#include "layers/group_norm_layer.h"

namespace pydl {

struct GroupNormParams {
  int32_t num_groups = 0;
  float eps = 1e-5f;
  bool affine = true;

  static auto fields() {
    using P = GroupNormParams;
    return Fields("group_norm_param",
                  Field("num_groups", &P::num_groups, "groups of channels; required"),
                  Field("eps", &P::eps, "added to the variance"),
                  Field("affine", &P::affine, "learn a factor and a bias for each channel"));
  }
};

class GroupNorm final : public GroupNormLayer<GroupNormParams> {
 private:
  int64_t groups(int64_t channels) const override {
    const int32_t groups = params_of().num_groups;
    check(groups > 0, "group_norm_param.num_groups must be given and positive, not ", groups);
    check(channels % groups == 0, "num_groups ", groups, " must divide the ", channels,
          " channels of its bottom");
    return groups;
  }
};

PYDL_REGISTER_LAYER("GroupNorm", GroupNorm,
                    "Gives each group of channels of an image mean 0 and variance 1, then "
                    "multiplies channels by learned factors and adds learned biases. Its blobs are "
                    "those of torch.nn.GroupNorm: weight, bias.");

}  // namespace pydl
