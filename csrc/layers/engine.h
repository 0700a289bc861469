// The field `engine` of several of Caffe's layers.
#pragma once

#include "pydl/fields.h"

namespace pydl {

// The last two are Intel's.
enum class Engine { kDefault = 0, kCaffe = 1, kCudnn = 2, kMkl2017 = 3, kMkldnn = 4 };
constexpr std::array<EnumName, 5> enum_names(Engine) {
  return {{{"DEFAULT", 0}, {"CAFFE", 1}, {"CUDNN", 2}, {"MKL2017", 3}, {"MKLDNN", 4}}};
}

}  // namespace pydl
