// Boxes of region proposal networks, by the arithmetic of py-faster-rcnn (Ren et al. 2015,
// arXiv:1506.01497): corners are pixels, so that a side is x2 - x1 + 1 long.
#pragma once

#include <array>
#include <vector>

#include "core/random.h"
#include "pydl/blob.h"

namespace pydl {

struct PixelBox {
  float x1, y1, x2, y2;

  double width() const { return static_cast<double>(x2) - x1 + 1; }
  double height() const { return static_cast<double>(y2) - y1 + 1; }
  double area() const { return width() * height(); }
};

// Around the first base_size pixels: for each ratio (height / width) a box of that area, for each
// scale one so much larger.
std::vector<PixelBox> make_anchors(int32_t base_size, const std::vector<float>& ratios,
                                   const std::vector<float>& scales);
PixelBox moved(const PixelBox& anchor, int64_t x, int64_t y);

// Intersection over union.
double overlap(const PixelBox& a, const PixelBox& b);

// What moves `from` to `to`: of the centre in parts of the sides, and logarithms of the sides'
// ratios.
std::array<float, 4> box_deltas(const PixelBox& from, const PixelBox& to);
PixelBox apply_deltas(const PixelBox& box, const std::array<float, 4>& deltas);
PixelBox clipped(const PixelBox& box, float width, float height);

// Rows [x1, y1, x2, y2, label] of a blob (G, 5), which may have no rows.
struct Truth {
  PixelBox box;
  float label;
};
// Throws pydl::Error for another shape, or a number that is not finite. Boxes without area, such as
// rows of padding, are left out.
std::vector<Truth> read_truths(const Blob& blob);

// The truth that overlaps a box most, the first of equal ones.
struct Match {
  int64_t truth = -1;  // none where there is no truth
  double overlap = 0;
};
Match best_match(const PixelBox& box, const std::vector<Truth>& truths);

// Throws pydl::Error unless there are rows [height, width, scale] for so many images, or one row
// for all of them.
void check_image_info(const Blob& info, int64_t images);
struct ImageInfo {
  float height, width, scale;
};
// Throws pydl::Error unless the numbers are finite and positive.
ImageInfo read_image_info(const Blob& info, int64_t image);

// `count` of the numbers, in their order; all if there are no more.
std::vector<int64_t> choose(std::vector<int64_t> from, int64_t count, Random* random);

}  // namespace pydl
