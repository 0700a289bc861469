#include "layers/ground_truth.h"

#include <cmath>

#include "core/check.h"

namespace pydl {

namespace {

constexpr int64_t kColumns = 8;
constexpr float kMostLabel = 1 << 24;

int64_t whole(float x, const char* what, int64_t row) {
  check(std::trunc(x) == x && std::fabs(x) <= kMostLabel, what, " ", x, " in row ", row,
        " of the ground truth is no whole number");  // nor is NaN
  return static_cast<int64_t>(x);
}

}  // namespace

void check_ground_truth_shape(const Blob& labels) {
  check(labels.axes() >= 2 && labels.shape(-1) == kColumns,
        "the ground truth must be 1 x 1 x boxes x ", kColumns,
        " (image, class, instance, x1, y1, x2, y2, difficult), but is ",
        shape_text(labels.shape()));
}

GroundTruth read_ground_truth(const Blob& labels, int64_t images, int64_t background,
                              bool with_difficult) {
  GroundTruth truth;
  const float* row = labels.data();
  for (int64_t i = 0; i < labels.count() / kColumns; ++i, row += kColumns) {
    const int64_t image = whole(row[0], "image", i);
    if (image == -1) continue;
    check(image >= 0 && (images < 0 || image < images), "row ", i,
          " of the ground truth is for image ", image, " of a batch of ", images);
    const int64_t label = whole(row[1], "class", i);
    check(label != background, "row ", i, " of the ground truth is of class ", label,
          ", the background's (background_label_id)");
    const bool difficult = row[7] != 0;
    if (difficult && !with_difficult) continue;
    truth[image].push_back({{row[3], row[4], row[5], row[6]}, label, difficult});
  }
  return truth;
}

}  // namespace pydl
