// loss_param as R-FCN's fork of Caffe has it for its losses with hard example mining.
#pragma once

#include <algorithm>

#include "pydl/fields.h"

namespace pydl {

enum class OhemNormalization { kFull = 0, kValid = 1, kBatchSize = 2, kNone = 3, kPreFixed = 4 };
constexpr std::array<EnumName, 5> enum_names(OhemNormalization) {
  return {{{"FULL", 0}, {"VALID", 1}, {"BATCH_SIZE", 2}, {"NONE", 3}, {"PRE_FIXED", 4}}};
}

struct OhemLossParams {
  std::optional<int32_t> ignore_label;
  std::optional<OhemNormalization> normalization;
  std::optional<bool> normalize;
  float pre_fixed_normalizer = 1;

  static auto fields() {
    using P = OhemLossParams;
    return Fields(
        "loss_param",
        Field("ignore_label", &P::ignore_label, "positions with this label do not count"),
        Field("normalization", &P::normalization,
              "the loss is divided by all positions, the valid ones, the batch size, 1, or "
              "pre_fixed_normalizer"),
        Field("normalize", &P::normalize,
              "old form of normalization: true is VALID, false BATCH_SIZE"),
        Field("pre_fixed_normalizer", &P::pre_fixed_normalizer,
              "what the loss is divided by with normalization: PRE_FIXED"));
  }

  // What a loss over (outer, inner) positions is divided by; never less than 1. `otherwise` is the
  // layer's default.
  double normalizer(OhemNormalization otherwise, int64_t outer, int64_t inner,
                    int64_t valid) const {
    using N = OhemNormalization;
    if (normalize) otherwise = *normalize ? N::kValid : N::kBatchSize;
    const N mode = normalization.value_or(otherwise);
    double n = 1;
    if (mode == N::kFull) n = static_cast<double>(outer * inner);
    if (mode == N::kValid) n = static_cast<double>(valid);
    if (mode == N::kBatchSize) n = static_cast<double>(outer);
    if (mode == N::kPreFixed) n = pre_fixed_normalizer;
    return std::max(n, 1.0);
  }
};

}  // namespace pydl
