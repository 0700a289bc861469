#pragma once

#include "layers/engine.h"

namespace pydl {

struct SoftmaxParams {
  Engine engine = Engine::kDefault;
  int32_t axis = 1;

  static auto fields() {
    return Fields("softmax_param",
                  Field("engine", &SoftmaxParams::engine, "accepted for Caffe's files; no effect"),
                  Field("axis", &SoftmaxParams::axis, "the axis of the classes"));
  }
};

}  // namespace pydl
