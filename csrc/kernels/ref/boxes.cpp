// The definition of boxes.h: one box at a time.
#include "kernels/boxes.h"

#include <algorithm>
#include <cmath>

namespace pydl::kernels::ref {

extern const BoxKernels box;

namespace {

void separate(int64_t n, const float* boxes, int64_t stride, float* planes) {
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) planes[k * n + i] = boxes[i * stride + k];
  }
}

void decode(int64_t n, BoxCode code, const float* priors, const float* variances,
            const float* codes, float* boxes) {
  for (int64_t i = 0; i < n; ++i) {
    double p[4], t[4];
    for (int k = 0; k < 4; ++k) {
      p[k] = priors[k * n + i];
      t[k] = codes[k * n + i] * (variances ? double{variances[k * n + i]} : 1.0);
    }
    const double size[2] = {p[2] - p[0], p[3] - p[1]};
    for (int axis = 0; axis < 2; ++axis) {
      double first = p[axis] + t[axis], last = p[axis + 2] + t[axis + 2];
      if (code == BoxCode::kCornerSize) {
        first = p[axis] + t[axis] * size[axis];
        last = p[axis + 2] + t[axis + 2] * size[axis];
      } else if (code == BoxCode::kCenterSize) {
        const double center = (p[axis] + p[axis + 2]) / 2 + t[axis] * size[axis];
        const double half = std::exp(t[axis + 2]) * size[axis] / 2;
        first = center - half;
        last = center + half;
      }
      boxes[axis * n + i] = static_cast<float>(first);
      boxes[(axis + 2) * n + i] = static_cast<float>(last);
    }
  }
}

float area(const float* box, float extra) {
  const float width = box[2] - box[0], height = box[3] - box[1];
  return width < 0 || height < 0 ? 0 : (width + extra) * (height + extra);
}

// In float, as the forks of Caffe compute it: boxes are matched and dropped by thresholds.
float overlap(const float* a, const float* b, float extra) {
  const float width = std::min(a[2], b[2]) - std::max(a[0], b[0]) + extra;
  const float height = std::min(a[3], b[3]) - std::max(a[1], b[1]) + extra;
  if (!(width > 0 && height > 0)) return 0;
  const float shared = width * height;
  return shared / (area(a, extra) + area(b, extra) - shared);
}

void raise_overlaps(int64_t n, const float* box, const float* boxes, int64_t plane, float extra,
                    float* most) {
  for (int64_t i = 0; i < n; ++i) {
    float other[4];
    for (int k = 0; k < 4; ++k) other[k] = boxes[k * plane + i];
    const float found = overlap(box, other, extra);
    if (found > most[i]) most[i] = found;
  }
}

int64_t above(int64_t n, const float* x, float threshold, int32_t* index) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] > threshold) index[count++] = static_cast<int32_t>(i);
  }
  return count;
}

}  // namespace

const BoxKernels box = {separate, decode, raise_overlaps, above};

}  // namespace pydl::kernels::ref
