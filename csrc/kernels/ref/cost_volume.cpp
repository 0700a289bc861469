// The definition of the cost volume (cost_volume.h): plain loops, double sums.
#include "kernels/cost_volume.h"

#include <cmath>
#include <vector>

namespace pydl::kernels::ref {

extern const CostVolumeKernels cost_volume;

namespace {

using Shape = CostVolumeShape;

// Where an image's values of a pixel are; -1: outside.
int64_t pixel(const Shape& s, int64_t n, int64_t y, int64_t x) {
  const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
  return inside ? ((n * s.h + y) * s.w + x) * s.c : -1;
}

// visit(at, p, q): for each value `at` of the volume, each pair of pixels p of a and q of b.
template <class Visit>
void for_each_pair(const Shape& s, const Visit& visit) {
  int64_t at = 0;
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t i = 0; i < s.out_h; ++i) {
      for (int64_t j = 0; j < s.out_w; ++j) {
        for (int64_t dy = -s.radius(); dy <= s.radius(); ++dy) {
          for (int64_t dx = -s.radius(); dx <= s.radius(); ++dx, ++at) {
            for (int64_t k = 0; k < s.kernel * s.kernel; ++k) {
              const int64_t y = s.start(i) + k / s.kernel, x = s.start(j) + k % s.kernel;
              visit(at, pixel(s, n, y, x), pixel(s, n, y + dy * s.stride2, x + dx * s.stride2));
            }
          }
        }
      }
    }
  }
}

double value(const float* image, int64_t pixel, int64_t c) {
  return pixel < 0 ? 0 : image[pixel + c];
}

void forward(const Shape& s, const float* a, const float* b, float* y) {
  std::vector<double> sum(s.n * s.out_h * s.out_w * s.displacements());
  for_each_pair(s, [&](int64_t at, int64_t p, int64_t q) {
    for (int64_t c = 0; c < s.c; ++c) {
      const double u = value(a, p, c), v = value(b, q, c);
      sum[at] += s.subtract ? std::abs(u - v) : u * v;
    }
  });
  for (size_t i = 0; i < sum.size(); ++i) y[i] = static_cast<float>(sum[i] / s.patch_size());
}

double sign(double x) { return (x > 0) - (x < 0); }

void backward(const Shape& s, bool by_a, const float* a, const float* b, const float* dy,
              float* dx) {
  std::vector<double> sum(s.n * s.h * s.w * s.c);
  for_each_pair(s, [&](int64_t at, int64_t p, int64_t q) {
    const int64_t to = by_a ? p : q;
    for (int64_t c = 0; to >= 0 && c < s.c; ++c) {
      const double u = value(a, p, c), v = value(b, q, c);
      const double slope = !s.subtract ? (by_a ? v : u) : by_a ? sign(u - v) : sign(v - u);
      sum[to + c] += dy[at] * slope;
    }
  });
  for (size_t i = 0; i < sum.size(); ++i) dx[i] = static_cast<float>(sum[i] / s.patch_size());
}

void backward_a(const Shape& s, const float* a, const float* b, const float* dy, float* da) {
  backward(s, true, a, b, dy, da);
}

void backward_b(const Shape& s, const float* a, const float* b, const float* dy, float* db) {
  backward(s, false, a, b, dy, db);
}

}  // namespace

const CostVolumeKernels cost_volume = {forward, backward_a, backward_b};

}  // namespace pydl::kernels::ref
