// The definition of rotary embedding (rotary.h).
#include "kernels/rotary.h"

#include "kernels/ref/array.h"

namespace pydl::kernels::ref {

extern const RotaryKernels rotary;

namespace {

void rotate(const RotaryShape& s, bool back, const float* cos, const float* sin, ConstArray x,
            Array y) {
  for (int64_t row = 0; row < s.batch * s.steps; ++row) {
    const int64_t t = row % s.steps;
    for (int64_t h = 0; h < s.heads; ++h) {
      const int64_t from = row * s.x_stride + h * s.size, to = row * s.y_stride + h * s.size;
      for (int64_t pair = 0; pair < s.size / 2; ++pair) {
        const int64_t i = s.halves ? pair : 2 * pair, j = s.halves ? pair + s.size / 2 : i + 1;
        const double a = get(x, from + i), b = get(x, from + j), sign = back ? -1 : 1;
        set(y, to + i, a * cos[t * s.size + i] + sign * b * sin[t * s.size + i]);
        set(y, to + j, b * cos[t * s.size + j] + sign * a * sin[t * s.size + j]);
      }
    }
  }
}

}  // namespace

const RotaryKernels rotary = {rotate};

}  // namespace pydl::kernels::ref
