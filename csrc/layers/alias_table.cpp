#include "layers/alias_table.h"

#include <cstddef>

namespace pydl {

AliasTable::AliasTable(const std::vector<double>& probabilities)
    : keep(probabilities.size(), 1), alias(probabilities.size()) {
  const size_t n = probabilities.size();
  std::vector<double> share(n);  // of a column that is still to be given away
  std::vector<int32_t> small, large;
  for (size_t i = 0; i < n; ++i) {
    alias[i] = static_cast<int32_t>(i);
    share[i] = probabilities[i] * static_cast<double>(n);
    (share[i] < 1 ? small : large).push_back(alias[i]);
  }
  while (!small.empty() && !large.empty()) {
    const int32_t poor = small.back(), rich = large.back();
    small.pop_back();
    keep[poor] = static_cast<float>(share[poor]);
    alias[poor] = rich;
    share[rich] -= 1 - share[poor];
    if (share[rich] >= 1) continue;
    large.pop_back();
    small.push_back(rich);
  }
  // What rounding left over keeps its own column, except values that are never to be drawn.
  for (const int32_t left : small) {
    if (probabilities[left] > 0) continue;
    keep[left] = 0;
    for (size_t i = 0; i < n && probabilities[alias[left]] <= 0; ++i) {
      alias[left] = static_cast<int32_t>(i);
    }
  }
}

}  // namespace pydl
