#include "layers/rois.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pydl {

bool Roi::nowhere() const { return !std::isfinite(x1 + y1 + x2 + y2); }

void check_roi_shapes(const Blob& images, const Blob& rois) {
  check(images.axes() == 4, "pools images (N, C, H, W), got a bottom of shape ",
        shape_text(images.shape()));
  check(rois.axes() >= 2 && rois.shape(1) == 5 && rois.count(1) == 5,
        "takes regions [batch item, x1, y1, x2, y2], a second bottom (R, 5), got shape ",
        shape_text(rois.shape()));
  check(images.count(2) <= std::numeric_limits<int32_t>::max(), "an image of ", images.shape(2),
        "x", images.shape(3), " is too large");
}

std::vector<Roi> read_rois(const Blob& rois, int64_t images) {
  const float* row = rois.data();
  std::vector<Roi> read;
  for (int64_t r = 0; r < rois.shape(0); ++r, row += 5) {
    check(row[0] > -1 && row[0] < static_cast<float>(images), "region ", r, " is of image ", row[0],
          ", but the batch has ", images, ": numbers go from 0 to ", images - 1);
    read.push_back({static_cast<int32_t>(row[0]), row[1], row[2], row[3], row[4]});
  }
  return read;
}

void check_pooled(int32_t pooled_h, int32_t pooled_w) {
  check(pooled_h > 0 && pooled_w > 0,
        "pooled_h and pooled_w, the bins of a region, must be given and positive, got ", pooled_h,
        " and ", pooled_w);
}

void RoiBins::add(float begin, float end, int64_t size) {
  const auto cut = [=](float edge) {
    return edge > 0 ? static_cast<int32_t>(std::min(edge, static_cast<float>(size))) : 0;
  };
  edges_.push_back(cut(begin));
  edges_.push_back(cut(end));
}

}  // namespace pydl
