// How far apart in memory neighbours along each axis of a blob are.
#pragma once

#include "pydl/blob.h"

namespace pydl {

// Of (N, C, spatial...), along its axes in this order, in elements.
inline Shape strides_of(const Shape& shape, Layout layout) {
  Shape strides(shape.size(), 1);
  const bool last = layout == Layout::kChannelsLast && shape.size() > 2;
  int64_t step = last ? shape[1] : 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (last && i == 1) continue;
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

}  // namespace pydl
