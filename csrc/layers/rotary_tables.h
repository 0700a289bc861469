// The cosines and sines of rotary positions (kernels/rotary.h), made as far as they are needed.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/rotary.h"

namespace pydl {

class RotaryTables {
 public:
  // Turns the shape's steps of x into y; they begin at place `first`.
  void Turn(const kernels::RotaryShape& shape, float base, int64_t first, bool back, ConstArray x,
            Array y) {
    Extend(shape, base, first + shape.steps);
    const int64_t at = first * shape.size;
    kernels::rotary_kernels().rotate(shape, back, cos_.data() + at, sin_.data() + at, x, y);
  }

 private:
  void Extend(const kernels::RotaryShape& shape, float base, int64_t length) {
    const int64_t size = shape.size, half = size / 2;
    if (size_ != size) cos_.clear(), sin_.clear();
    size_ = size;
    for (auto t = static_cast<int64_t>(cos_.size()) / std::max<int64_t>(size, 1); t < length; ++t) {
      for (int64_t i = 0; i < size; ++i) {
        const int64_t pair = shape.halves ? i % half : i / 2;
        const bool is_first = shape.halves ? i < half : i % 2 == 0;
        const double power = -2.0 * static_cast<double>(pair) / static_cast<double>(size);
        const double angle = static_cast<double>(t) * std::pow(base, power);
        cos_.push_back(static_cast<float>(std::cos(angle)));
        sin_.push_back(static_cast<float>(is_first ? -std::sin(angle) : std::sin(angle)));
      }
    }
  }

  int64_t size_ = 0;
  std::vector<float> cos_, sin_;  // (steps so far, D)
};

}  // namespace pydl
