// A detector's predictions and the priors that they are relative to, as blobs.
#pragma once

#include "core/check.h"
#include "layers/boxes.h"
#include "pydl/layer.h"

namespace pydl {

struct PriorBoxes {
  Boxes boxes, variances;
};

// priors: (1, 2, P 4), of a PriorBox layer
inline PriorBoxes read_priors(const Blob& priors) {
  const int64_t count = priors.shape(2) / 4;
  return {Boxes(count, priors.data()), Boxes(count, priors.data() + 4 * count)};
}

// The number of priors P. Throws pydl::Error unless the shapes fit: locations (N, P L 4) and scores
// (N, P C).
inline int64_t check_predictions(const Blob& locations, const Blob& scores, const Blob& priors,
                                 int64_t location_classes, int64_t classes) {
  check(priors.axes() >= 3 && priors.shape(1) == 2 && priors.shape(2) % 4 == 0 &&
            priors.count(3) == 1 && priors.shape(0) >= 1,
        "priors must be 1 x 2 x 4 times their number, as PriorBox makes them, but are ",
        shape_text(priors.shape()));
  const int64_t count = priors.shape(2) / 4;
  check(count * classes < std::numeric_limits<int32_t>::max(), count, " priors of ", classes,
        " classes are too many");
  const auto check_shape = [&](const Blob& blob, const char* what, int64_t values) {
    check(blob.axes() >= 2 && blob.count(1) == values, what, " must have ", values,
          " values per image for ", count, " priors, ", values / std::max<int64_t>(count, 1),
          " for each, but are ", shape_text(blob.shape()));
  };
  check_shape(locations, "locations", count * location_classes * 4);
  check_shape(scores, "scores", count * classes);
  check(locations.shape(0) == scores.shape(0), "locations are of ", locations.shape(0),
        " images, scores of ", scores.shape(0));
  return count;
}

}  // namespace pydl
