// LayerNorm (Ba et al. 2016, arXiv:1607.06450), as torch.nn.LayerNorm has it.

#include "layers/row_norm_layer.h"

namespace pydl {

struct LayerNormParams {
  int32_t axis = -1;
  float eps = 1e-5f;
  bool affine = true, bias_term = true;

  static auto fields() {
    using P = LayerNormParams;
    return Fields("layer_norm_param",
                  Field("axis", &P::axis, "values are normalised over this axis and all after it"),
                  Field("eps", &P::eps, "added to the variance"),
                  Field("affine", &P::affine, "learn a factor for each value, and a bias"),
                  Field("bias_term", &P::bias_term, "false: learn the factor alone"));
  }
};

class LayerNorm final : public RowNormLayer<LayerNormParams> {
 private:
  bool centered() const override { return true; }
  bool has_scale() const override { return params_of().affine; }
  bool has_bias() const override { return params_of().affine && params_of().bias_term; }
};

PYDL_REGISTER_LAYER("LayerNorm", LayerNorm,
                    "Gives the last axis, or several, mean 0 and variance 1, then multiplies by "
                    "learned factors and adds a learned bias. Its blobs are those of "
                    "torch.nn.LayerNorm: weight, bias.");

}  // namespace pydl
