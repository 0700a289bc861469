// Draws from a distribution over many values in two table look-ups (Walker 1977; Vose 1991).
#pragma once

#include <cstdint>
#include <vector>

namespace pydl {

// For kernels/negative_sampling.h: of the columns, all equally likely, each stands for itself with
// probability keep and else for its alias.
struct AliasTable {
  std::vector<float> keep;
  std::vector<int32_t> alias;

  // From the values' probabilities, whose sum is 1.
  explicit AliasTable(const std::vector<double>& probabilities);
};

}  // namespace pydl
