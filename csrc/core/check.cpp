#include "core/check.h"

#include <algorithm>
#include <numeric>

namespace pydl {

std::string shape_text(const std::vector<int64_t>& shape) {
  if (shape.empty()) return "scalar";
  std::string out;
  for (int64_t dim : shape) out += (out.empty() ? "" : "x") + std::to_string(dim);
  return out;
}

namespace {

// Levenshtein distance.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string did_you_mean(const std::string& name, const std::vector<std::string>& names) {
  const std::string* best = nullptr;
  size_t least = name.size() / 2 + 2;
  for (const std::string& candidate : names) {
    const size_t d = distance(name, candidate);
    if (d < least) least = d, best = &candidate;
  }
  return best ? "; did you mean \"" + *best + "\"?" : "";
}

}  // namespace pydl
