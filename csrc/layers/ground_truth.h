// The boxes that are known to be in images: rows of a label blob.
#pragma once

#include <map>
#include <vector>

#include "layers/boxes.h"
#include "pydl/blob.h"

namespace pydl {

struct TruthBox {
  Box box;
  int64_t label;
  bool difficult;
};
using GroundTruth = std::map<int64_t, std::vector<TruthBox>>;  // by image

// labels: (1, 1, G, 8): image, class, instance, x1, y1, x2, y2, difficult; image -1: no box
// Throws pydl::Error for numbers that cannot be meant. images: how many there are, or -1.
GroundTruth read_ground_truth(const Blob& labels, int64_t images, int64_t background,
                              bool with_difficult);

// Throws pydl::Error unless a blob has such rows.
void check_ground_truth_shape(const Blob& labels);

}  // namespace pydl
