#include "layers/labels.h"

#include <algorithm>

namespace pydl {

std::string position_text(const Shape& shape, int64_t index) {
  std::string out;
  for (size_t i = shape.size(); i-- > 0;) {
    out = std::to_string(index % shape[i]) + (out.empty() ? "" : ", ") + out;
    index /= shape[i];
  }
  return "[" + out + "]";
}

void check_label_count(const Blob& prediction, int axis, const Blob& labels) {
  const int64_t positions = prediction.count(0, axis) * prediction.count(axis + 1);
  check(labels.count() == positions, "needs a label for each of the ", positions,
        " positions of its prediction ", shape_text(prediction.shape()), " (classes along axis ",
        axis, "), but the labels are ", shape_text(labels.shape()));
}

void check_row_labels(const Blob& prediction, const Blob& labels) {
  check(prediction.axes() >= 1, "needs a prediction with a batch axis, got a scalar");
  check(labels.count() == prediction.shape(0), "needs a label for each of the ",
        prediction.shape(0), " rows of its prediction ", shape_text(prediction.shape()),
        ", but the labels are ", shape_text(labels.shape()));
}

void check_labels(const Blob& labels, int64_t classes, std::optional<int32_t> ignore_label) {
  const float* label = labels.data();
  const auto limit = static_cast<float>(classes);
  for (int64_t i = 0; i < labels.count(); ++i) {
    const float v = label[i];
    if ((v >= 0 && v < limit) || is_ignored(v, ignore_label)) continue;  // NaN fails both
    fail("label ", v, " at ", position_text(labels.shape(), i), " of the ",
         shape_text(labels.shape()), " labels is not in 0 to ", classes - 1,
         ", the classes of the prediction",
         ignore_label ? " (nor is it ignore_label " + std::to_string(*ignore_label) + ")" : "");
  }
}

void check_probabilities(const Blob& labels, Layout layout) {
  const auto is_one = [](float p) { return p >= 0 && p <= 1; };  // NaN is none
  const float* label = labels.data(layout);
  bool fine = true;
  for (int64_t i = 0; i < labels.count(); ++i) fine &= is_one(label[i]);
  if (fine) return;
  label = labels.data();
  const int64_t i = std::find_if_not(label, label + labels.count(), is_one) - label;
  fail("the expected probability ", label[i], " at ", position_text(labels.shape(), i), " of the ",
       shape_text(labels.shape()), " labels is not in 0 to 1");
}

void check_indices(const Blob& indices, int64_t limit, const std::string& hint) {
  const float* index = indices.data();
  const auto end = static_cast<float>(limit);
  for (int64_t i = 0; i < indices.count(); ++i) {
    if (index[i] >= 0 && index[i] < end) continue;  // NaN fails
    fail("index ", index[i], " at ", position_text(indices.shape(), i), " of the ",
         shape_text(indices.shape()), " inputs is not in 0 to ", limit - 1, hint);
  }
}

}  // namespace pydl
