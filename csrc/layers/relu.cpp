// ReLU: x for x > 0, negative_slope x otherwise (Nair & Hinton 2010; leaky: Maas et al. 2013).

#include "layers/engine.h"
#include "layers/rectifier.h"

namespace pydl {

struct ReluParams {
  float negative_slope = 0;
  Engine engine = Engine::kDefault;

  static auto fields() {
    return Fields("relu_param",
                  Field("negative_slope", &ReluParams::negative_slope, "slope left of 0"),
                  Field("engine", &ReluParams::engine, "accepted for Caffe's files; no effect"));
  }
};

class Relu final : public Rectifier<ReluParams> {};

PYDL_REGISTER_LAYER("ReLU", Relu, "Rectified linear unit: x for x > 0, negative_slope x else.");

}  // namespace pydl
