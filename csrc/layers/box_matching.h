// Which boxes of the ground truth a detector's boxes stand for (Liu et al. 2016, "SSD").
#pragma once

#include <span>
#include <vector>

#include "layers/boxes.h"

namespace pydl {

struct MatchOptions {
  bool per_prediction = true;    // several may stand for one box, else one only
  float threshold = 0.5f;        // least overlap of further ones
  bool leave_out_cross = false;  // boxes that reach out of the image take no part
};

// Of each prediction.
struct Matches {
  static constexpr int32_t kNone = -1, kLeftOut = -2;
  std::vector<int32_t> truth;  // the number of its box, or one of the above
  std::vector<float> overlap;  // with its box, or the largest with any
};

// Each box of the truth in turn, from the largest overlap on, gets the prediction that overlaps it
// most; then, per_prediction, others the box that they overlap most, if by the threshold.
Matches match_boxes(const Boxes& predictions, std::span<const Box> truth,
                    const MatchOptions& options);

}  // namespace pydl
