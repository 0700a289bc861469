// LeakyReLU: x for x > 0, negative_slope x otherwise (Maas et al. 2013), ReLU with torch's default.

#include "layers/rectifier.h"

namespace pydl {

struct LeakyReluParams {
  float negative_slope = 0.01f;

  static auto fields() {
    return Fields("leaky_relu_param",
                  Field("negative_slope", &LeakyReluParams::negative_slope, "slope left of 0"));
  }
};

class LeakyRelu final : public Rectifier<LeakyReluParams> {};

PYDL_REGISTER_LAYER("LeakyReLU", LeakyRelu,
                    "x for x > 0, negative_slope x else: ReLU with a slope from the start.");

}  // namespace pydl
