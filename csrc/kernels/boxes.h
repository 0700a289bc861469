// Boxes around objects, many at a time: four planes x1, y1, x2, y2 of n numbers each.
#pragma once

#include <cstdint>

namespace pydl::kernels {

// How a box is told by four numbers t relative to a prior box p, of the size w x h and with the
// centre c: its corners p + t; its centre c + t w (t h) and size w exp(t) (h exp(t)); or its
// corners p + t w (t h). With variances v each t counts as v t (Liu et al. 2016, "SSD").
enum class BoxCode { kCorner = 1, kCenterSize = 2, kCornerSize = 3 };

struct BoxKernels {
  // planes: (4, n)   boxes: (n, 4), rows `stride` floats apart
  void (*separate)(int64_t n, const float* boxes, int64_t stride, float* planes);
  // boxes[i] as codes[i] tells it relative to priors[i]. All (4, n); variances may be null: 1.
  void (*decode)(int64_t n, BoxCode code, const float* priors, const float* variances,
                 const float* codes, float* boxes);
  // most[i] = max(most[i], overlap): the area that `box` (x1, y1, x2, y2) and boxes[i] share, over
  // the area that they cover together; 0 where they do not meet. `extra` is added to the sides of
  // boxes and of what they share: 1 where coordinates name pixels, both ends inside; else 0.
  // boxes: planes, `plane` floats apart. Every instruction set gives the same bits.
  void (*raise_overlaps)(int64_t n, const float* box, const float* boxes, int64_t plane,
                         float extra, float* most);
  // index (n): the places where x > threshold, in order; returns how many.
  int64_t (*above)(int64_t n, const float* x, float threshold, int32_t* index);
};

const BoxKernels& box_kernels();

}  // namespace pydl::kernels
