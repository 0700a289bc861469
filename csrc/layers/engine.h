// The field `engine` of several of Caffe's layers.
#pragma once

#include "pydl/fields.h"

namespace pydl {

enum class Engine { kDefault = 0, kCaffe = 1, kCudnn = 2 };
constexpr std::array<EnumName, 3> enum_names(Engine) {
  return {{{"DEFAULT", 0}, {"CAFFE", 1}, {"CUDNN", 2}}};
}

}  // namespace pydl
