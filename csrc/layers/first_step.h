// What layers share that know the place of each step: how long a sequence may be, and a second
// bottom of one value, the place of the first step, where it comes in parts.
#pragma once

#include <cmath>

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

class Places {
 public:
  // `most` steps, 0 for no limit, as `field` says.
  Places(const char* field, int32_t most) : field_(field), most_(most) {
    check(most >= 0, field_, " must not be negative, got ", most_);
  }

  void Reshape(const Blobs& bottom, int64_t steps) {
    steps_ = steps;
    if (bottom.size() < 2) return CheckLength(steps);
    check(bottom[1]->count() == 1, "its second bottom, the place of the first step, must be one ",
          "value, but is ", shape_text(bottom[1]->shape()));
  }

  // Of this pass's first step.
  int64_t First(const Blobs& bottom) const {
    if (bottom.size() < 2) return 0;
    const float first = bottom[1]->data()[0];
    check(first >= 0 && first < 1e9f && first == std::floor(first),
          "the place of the first step must be a whole number from 0 on, got ", first);
    CheckLength(static_cast<int64_t>(first) + steps_);
    return static_cast<int64_t>(first);
  }

 private:
  void CheckLength(int64_t length) const {
    check(most_ == 0 || length <= most_, "a sequence has ", length, " steps, but ", field_, " is ",
          most_);
  }

  const char* field_;
  int32_t most_;
  int64_t steps_ = 0;
};

}  // namespace pydl
