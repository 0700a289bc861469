// YOLO's scores (Redmon & Farhadi 2017, arXiv:1612.08242): each cell of an image has some anchors,
// each with a box, the probability that it holds an object, and the object's class.
#pragma once

#include <cmath>
#include <cstdint>

namespace pydl {

inline float logistic(float x) { return 1 / (1 + std::exp(-x)); }

// Centre and size, as shares of the image.
struct CenterBox {
  float x, y, w, h;
};

// The overlap of two segments, of which centres and lengths are given.
inline float common_length(float x1, float w1, float x2, float w2) {
  const float end = std::fmin(x1 + w1 / 2, x2 + w2 / 2);
  return std::fmax(end - std::fmax(x1 - w1 / 2, x2 - w2 / 2), 0);
}

// Intersection over union; 0 where neither has an area.
inline float overlap(const CenterBox& a, const CenterBox& b) {
  const float both = common_length(a.x, a.w, b.x, b.w) * common_length(a.y, a.h, b.y, b.h);
  const float either = a.w * a.h + b.w * b.h - both;
  return either > 0 ? both / either : 0;
}

// The scores of one image: values of an anchor are `stride` floats apart.
struct RegionCells {
  int64_t height, width, anchors, values;  // values: 4 of the box, the object's, one per class
  const float* biases;                     // (anchors, 2): widths and heights, in cells
  int64_t anchor_stride, cell_stride, stride;

  int64_t first(int64_t cell, int64_t anchor) const {
    return cell * cell_stride + anchor * anchor_stride;
  }

  // What the four scores from x on say.
  CenterBox box(const float* x, int64_t cell, int64_t anchor) const {
    const auto w = static_cast<float>(width), h = static_cast<float>(height);
    return {(static_cast<float>(cell % width) + logistic(x[0])) / w,
            (static_cast<float>(cell / width) + logistic(x[stride])) / h,
            std::exp(x[2 * stride]) * biases[2 * anchor] / w,
            std::exp(x[3 * stride]) * biases[2 * anchor + 1] / h};
  }
};

}  // namespace pydl
