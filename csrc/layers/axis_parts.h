// Blobs side by side along one axis of another one.
#pragma once

#include <vector>

#include "kernels/eltwise.h"
#include "layers/axis_view.h"
#include "pydl/layer.h"

namespace pydl {

struct AxisParts {
  int64_t rows = 0;
  std::vector<int64_t> sizes;  // of each part's share of a row
  int64_t size = 0;            // of a row

  AxisParts(const Blobs& parts, int axis, Layout layout) {
    for (const Blob* part : parts) {
      const AxisView v = axis_view(*part, axis, layout);
      rows = v.outer;
      sizes.push_back(v.channels * v.inner);
      size += sizes.back();
    }
  }
};

// Copies the parts x to the whole y.
inline void join(const AxisParts& p, const std::vector<ConstArray>& x, Array y) {
  for (size_t i = 0; i < x.size(); y = y.from(p.sizes[i++])) {
    kernels::eltwise_kernels().copy_rows(p.rows, p.sizes[i], x[i], p.sizes[i], y, p.size);
  }
}

// Copies the whole x to the parts y, of which null ones are left out.
inline void split(const AxisParts& p, ConstArray x, const std::vector<Array>& y) {
  for (size_t i = 0; i < y.size(); x = x.from(p.sizes[i++])) {
    if (!y[i]) continue;
    kernels::eltwise_kernels().copy_rows(p.rows, p.sizes[i], x, p.size, y[i], p.sizes[i]);
  }
}

}  // namespace pydl
