#include "layers/per_axis.h"

#include "core/check.h"

namespace pydl {

std::vector<int64_t> PerAxis::read(int axes, OptionalInt otherwise, int least) const {
  std::vector<int64_t> out;
  if (depth) {
    check(axes == 3, "kernel_depth, temporal_stride and temporal_pad are for 3 spatial axes, but ",
          "there are ", axes);
    out = PerAxis{name, given, h, w}.read(2, otherwise, least);
    out.insert(out.begin(), *depth);
  } else if (h || w) {
    check(axes == 2, name, "_h and ", name, "_w are for 2 spatial axes, but there are ", axes);
    check(given.empty(), "give either ", name, " or ", name, "_h and ", name, "_w, not both");
    out = {h.value_or(otherwise.value_or(0)), w.value_or(otherwise.value_or(0))};
  } else if (given.empty()) {
    check(otherwise.has_value() || axes == 0, name, " must be given");
    out.assign(axes, otherwise.value_or(0));
  } else {
    const int count = static_cast<int>(given.size());
    check(count == 1 || count == axes, name, " is given ", count, " times for ", axes,
          " spatial axes; give it once or once per axis");
    for (int i = 0; i < axes; ++i) out.push_back(given[count == 1 ? 0 : i]);
  }
  for (int64_t v : out) check(v >= least, name, " must be at least ", least, ", got ", v);
  return out;
}

}  // namespace pydl
