// Labels: class numbers in a blob of floats, one for each position of a prediction.
#pragma once

#include <cmath>
#include <optional>
#include <string>

#include "layers/axis_view.h"

namespace pydl {

// As in Caffe, a label is cut to an integer.
inline bool is_ignored(float label, std::optional<int32_t> ignore_label) {
  return ignore_label && std::trunc(label) == static_cast<float>(*ignore_label);
}

// Where the index-th element of an array of that shape is: "[1, 0, 2]".
std::string position_text(const Shape& shape, int64_t index);

// Throws pydl::Error unless there is one label for each position of the prediction, whose classes
// lie along `axis`.
void check_label_count(const Blob& prediction, int axis, const Blob& labels);

// Throws pydl::Error unless there is one label for each row of the prediction (axis 0), all of
// whose other axes are classes.
void check_row_labels(const Blob& prediction, const Blob& labels);

// Throws pydl::Error at the first label that is neither in [0, classes) nor ignored.
void check_labels(const Blob& labels, int64_t classes, std::optional<int32_t> ignore_label);

// Labels of the prediction's own shape are the probabilities of its classes, as in PyTorch; with
// one class they are labels.
inline bool are_probabilities(const Blob& prediction, int axis, const Blob& labels) {
  return labels.shape() == prediction.shape() && prediction.shape(axis) > 1;
}

// Throws pydl::Error at the first value that is not in [0, 1].
void check_probabilities(const Blob& labels, Layout layout = Layout::kPlain);

// Throws pydl::Error, ending in `hint`, at the first index that is not in [0, limit). As in Caffe,
// an index is cut to an integer.
void check_indices(const Blob& indices, int64_t limit, const std::string& hint);

}  // namespace pydl
