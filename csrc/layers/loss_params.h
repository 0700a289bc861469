// loss_param, which all losses over labels share.
#pragma once

#include <algorithm>

#include "pydl/fields.h"

namespace pydl {

enum class Normalization { kFull = 0, kValid = 1, kBatchSize = 2, kNone = 3 };
constexpr std::array<EnumName, 4> enum_names(Normalization) {
  return {{{"FULL", 0}, {"VALID", 1}, {"BATCH_SIZE", 2}, {"NONE", 3}}};
}

struct LossParams {
  std::optional<int32_t> ignore_label;
  std::optional<Normalization> normalization;
  std::optional<bool> normalize;

  static auto fields() {
    using P = LossParams;
    return Fields(
        "loss_param",
        Field("ignore_label", &P::ignore_label, "positions with this label do not count"),
        Field("normalization", &P::normalization,
              "the loss is divided by all positions, the valid ones, the batch size, or 1",
              static_cast<int>(Normalization::kValid)),
        Field("normalize", &P::normalize,
              "old form of normalization: true is VALID, false BATCH_SIZE"));
  }

  // `otherwise` is the loss layer's default.
  Normalization mode(Normalization otherwise) const {
    if (normalization) return *normalization;
    if (normalize) return *normalize ? Normalization::kValid : Normalization::kBatchSize;
    return otherwise;
  }
};

// What a loss over (outer, inner) positions is divided by; as in Caffe never less than 1.
inline double normalizer(Normalization mode, int64_t outer, int64_t inner, int64_t valid) {
  int64_t n = 1;
  if (mode == Normalization::kFull) n = outer * inner;
  if (mode == Normalization::kValid) n = valid;
  if (mode == Normalization::kBatchSize) n = outer;
  return static_cast<double>(std::max<int64_t>(n, 1));
}

// What a loss that is a mean over the batch is divided by.
inline double mean_divisor(int64_t rows) { return static_cast<double>(std::max<int64_t>(rows, 1)); }

// Smaller probabilities count as this in InfogainLoss and MultinomialLogisticLoss, as in Caffe.
constexpr float kLeastProbability = 1e-20f;

}  // namespace pydl
