// Sizes of a window that a message has for all spatial axes at once, or for each.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace pydl {

using OptionalInt = std::optional<int32_t>;

// A field that is given once for all axes, once per axis, or as _h and _w with two axes; where
// `depth` is given, for the last two of three axes.
struct PerAxis {
  const char* name;
  const std::vector<int32_t>& given;
  OptionalInt h, w, depth = {};

  bool is_given() const { return !given.empty() || h || w; }
  // One entry per axis: `otherwise` where nothing is given. Throws pydl::Error for contradictions,
  // for values below `least`, and where nothing is given and there is no `otherwise`.
  std::vector<int64_t> read(int axes, OptionalInt otherwise, int least) const;
};

}  // namespace pydl
