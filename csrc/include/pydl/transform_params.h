// transform_param: what is done to each record of a data layer.
#pragma once

#include <string>
#include <vector>

#include "pydl/augment_params.h"
#include "pydl/fields.h"

namespace pydl {

struct TransformParams {
  float scale = 1;
  bool mirror = false;
  uint32_t crop_size = 0;
  std::string mean_file;
  std::vector<float> mean_value;
  bool force_color = false, force_gray = false;
  std::optional<AugmentParams> augment;

  static auto fields() {
    using P = TransformParams;
    return Fields(
        "transform_param", Field("scale", &P::scale, "factor on every value, after the mean"),
        Field("mirror", &P::mirror, "flip left to right at random"),
        Field("crop_size", &P::crop_size, "square cut out: at random in TRAIN, the middle in TEST"),
        Field("mean_file", &P::mean_file, "mean image to subtract, a .binaryproto"),
        Field("mean_value", &P::mean_value, "mean to subtract: one, or one per channel"),
        Field("force_color", &P::force_color, "decode images to 3 channels"),
        Field("force_gray", &P::force_gray, "decode images to 1 channel"),
        Field("augment", &P::augment, "in TRAIN: pictures varied at random"));
  }
};

}  // namespace pydl
