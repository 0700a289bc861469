// How a blob is filled at the start.
#pragma once

#include <string>

#include "pydl/blob.h"
#include "pydl/fields.h"

namespace pydl {

enum class VarianceNorm { kFanIn = 0, kFanOut = 1, kAverage = 2 };
constexpr std::array<EnumName, 3> enum_names(VarianceNorm) {
  return {{{"FAN_IN", 0}, {"FAN_OUT", 1}, {"AVERAGE", 2}}};
}

struct FillerParams {
  std::string type = "constant";
  float value = 0, min = 0, max = 1, mean = 0, std = 1;
  int32_t sparse = -1;
  VarianceNorm variance_norm = VarianceNorm::kFanIn;

  static auto fields() {
    return Fields("filler",
                  Field("type", &FillerParams::type,
                        "constant, uniform, gaussian, xavier, msra, positive_unitball or bilinear"),
                  Field("value", &FillerParams::value, "constant: the value"),
                  Field("min", &FillerParams::min, "uniform: least value"),
                  Field("max", &FillerParams::max, "uniform: greatest value"),
                  Field("mean", &FillerParams::mean, "gaussian: mean"),
                  Field("std", &FillerParams::std, "gaussian: standard deviation"),
                  Field("sparse", &FillerParams::sparse,
                        "gaussian: expected number of non-zero inputs of each output; -1: all"),
                  Field("variance_norm", &FillerParams::variance_norm,
                        "xavier, msra: n is the fan in, the fan out, or their mean"));
  }
};

// Fills blob->data, as a function of the seed and stream alone. Throws pydl::Error for an unknown
// type or a shape that the type cannot fill.
void Fill(const FillerParams& params, uint64_t seed, uint64_t stream, Blob* blob);

}  // namespace pydl
