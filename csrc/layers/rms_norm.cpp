// RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), as torch.nn.RMSNorm has it.

#include "layers/row_norm_layer.h"

namespace pydl {

struct RmsNormParams {
  int32_t axis = -1;
  float eps = std::numeric_limits<float>::epsilon();
  bool affine = true;

  static auto fields() {
    using P = RmsNormParams;
    return Fields("rms_norm_param",
                  Field("axis", &P::axis, "values are normalised over this axis and all after it"),
                  Field("eps", &P::eps, "added to the mean of the squares"),
                  Field("affine", &P::affine, "learn a factor for each value"));
  }
};

class RmsNorm final : public RowNormLayer<RmsNormParams> {
 private:
  bool centered() const override { return false; }
  bool has_scale() const override { return params_of().affine; }
  bool has_bias() const override { return false; }
};

PYDL_REGISTER_LAYER("RMSNorm", RmsNorm,
                    "Divides the last axis, or several, by the root of its mean square, then "
                    "multiplies by learned factors. Its blob is torch.nn.RMSNorm's weight.");

}  // namespace pydl
