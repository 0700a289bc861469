// How much each sample of a loss counts: an optional last bottom.
#pragma once

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

class SampleWeights {
 public:
  // Throws pydl::Error unless there is one for each row of `values` (axis 0), or for each value.
  static void check_count(const Blob& values, const Blob& weights) {
    check(weights.count() == values.shape(0) || weights.count() == values.count(),
          "needs a weight for each of the ", values.shape(0), " samples, or for each value of ",
          shape_text(values.shape()), ", but the weights are ", shape_text(weights.shape()));
  }

  // `size` for each row of `rows`: those of the blob, whose own are written out if need be.
  const float* of(const Blob& weights, int64_t rows, int64_t size) {
    const float* given = weights.data();
    if (weights.count() == rows * size) return given;
    values_.resize(rows * size);
    for (int64_t r = 0; r < rows; ++r) std::fill_n(values_.data() + r * size, size, given[r]);
    return values_.data();
  }

 private:
  std::vector<float> values_;
};

// How many of n weights are not 0; null: all.
inline int64_t count_weighted(int64_t n, const float* weights) {
  return weights ? n - std::count(weights, weights + n, 0.0f) : n;
}

}  // namespace pydl
