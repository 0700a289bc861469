// transform_param: what is done to each record of a data layer.
#pragma once

#include <string>
#include <vector>

#include "pydl/blob.h"
#include "pydl/fields.h"

namespace pydl {

struct TransformParams {
  float scale = 1;
  bool mirror = false;
  uint32_t crop_size = 0;
  std::string mean_file;
  std::vector<float> mean_value;
  bool force_color = false, force_gray = false;

  static auto fields() {
    using P = TransformParams;
    return Fields(
        "transform_param", Field("scale", &P::scale, "factor on every value, after the mean"),
        Field("mirror", &P::mirror, "flip left to right at random"),
        Field("crop_size", &P::crop_size, "square cut out: at random in TRAIN, the middle in TEST"),
        Field("mean_file", &P::mean_file, "mean image to subtract, a .binaryproto"),
        Field("mean_value", &P::mean_value, "mean to subtract: one, or one per channel"),
        Field("force_color", &P::force_color, "decode images to 3 channels"),
        Field("force_gray", &P::force_gray, "decode images to 1 channel"));
  }
};

// y = (cut out and perhaps mirrored x - mean) * scale
class Transform {
 public:
  // record: (C, H, W). Throws pydl::Error where mean or crop do not fit.
  Transform(const TransformParams& params, const Shape& record, bool train);
  Shape out_shape() const { return out_; }  // (C, H', W')
  // `count` records, the first being number `first` of the run: what is random is a function of
  // (seed, stream, number). x: (count, C, H, W)   y: (count, C, H', W')
  void Apply(int64_t count, uint64_t seed, uint64_t stream, int64_t first, const float* x,
             float* y) const;

 private:
  TransformParams params_;
  Shape in_, out_;
  bool train_;
  std::vector<float> mean_;  // (C, H, W), or empty
};

}  // namespace pydl
