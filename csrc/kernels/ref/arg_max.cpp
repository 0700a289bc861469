// The definition of arg_max.h: sorting.
#include "kernels/arg_max.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace pydl::kernels::ref {

extern const ArgMaxKernels arg_max;

namespace {

struct Entry {
  float value;
  int64_t index;
};

bool comes_first(const Entry& a, const Entry& b) {
  if (std::isnan(a.value) != std::isnan(b.value)) return std::isnan(a.value);
  if (a.value > b.value || a.value < b.value) return a.value > b.value;
  return a.index > b.index;
}

void largest(const ArgMaxShape& s, const float* x, float* index, float* value) {
  std::vector<Entry> row(s.n);
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) {
      for (int64_t j = 0; j < s.n; ++j) row[j] = {x[(o * s.n + j) * s.inner + i], j};
      std::partial_sort(row.begin(), row.begin() + s.k, row.end(), comes_first);
      for (int64_t j = 0; j < s.k; ++j) {
        const int64_t at = o * s.stride + j * s.inner + i;
        if (index) index[at] = static_cast<float>(row[j].index);
        if (value) value[at] = row[j].value;
      }
    }
  }
}

}  // namespace

const ArgMaxKernels arg_max = {largest};

}  // namespace pydl::kernels::ref
