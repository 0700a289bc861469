// The field `base` of exp_param and log_param.
#pragma once

#include <cmath>

#include "core/check.h"

namespace pydl {

// log(base), 1 for Caffe's -1, which stands for e. Throws pydl::Error for what has no logarithm.
inline double log_of_base(float base) {
  if (base == -1) return 1;
  check(base > 0 && std::isfinite(base), "base must be positive and finite, or -1 for e, got ",
        base);
  return std::log(static_cast<double>(base));
}

}  // namespace pydl
