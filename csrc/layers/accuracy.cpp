// Accuracy: the share of positions whose true class is among the top_k scores.

#include <algorithm>

#include "layers/labels.h"
#include "pydl/layer.h"

namespace pydl {

struct AccuracyParams {
  uint32_t top_k = 1;
  int32_t axis = 1;
  std::optional<int32_t> ignore_label;

  static auto fields() {
    using P = AccuracyParams;
    return Fields(
        "accuracy_param",
        Field("top_k", &P::top_k, "right if the true class is among this many best"),
        Field("axis", &P::axis, "the axis of the classes"),
        Field("ignore_label", &P::ignore_label, "positions with this label do not count"));
  }
};

// bottoms: scores (outer, classes, inner), labels (outer, inner)
// tops: a scalar; and if wanted the accuracy of each class, (classes)
class Accuracy final : public LayerOf<AccuracyParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {1, 2}; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  bool can_propagate(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const int64_t top_k = params_of().top_k;
    axis_ = bottom[0]->CanonicalAxis(params_of().axis);
    classes_ = bottom[0]->shape(axis_);
    check_label_count(*bottom[0], axis_, *bottom[1]);
    check(top_k >= 1 && top_k <= classes_, "top_k ", top_k, " is not in 1 to ", classes_,
          ", the number of classes (axis ", axis_, " of ", shape_text(bottom[0]->shape()), ")");
    top[0]->Reshape({});
    if (top.size() > 1) top[1]->Reshape({classes_});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    check_labels(*bottom[1], classes_, params_of().ignore_label);
    const AxisView v = axis_view(*bottom[0], axis_, layout());
    const float* scores = bottom[0]->data(layout());
    const float* labels = bottom[1]->data();
    std::vector<int64_t> right(classes_), all(classes_);
    for (int64_t o = 0; o < v.outer; ++o) {
      for (int64_t i = 0; i < v.inner; ++i) {
        const float label = labels[o * v.inner + i];
        if (is_ignored(label, params_of().ignore_label)) continue;
        const auto truth = static_cast<int64_t>(label);
        ++all[truth];
        right[truth] += IsRight(scores + o * v.channels * v.inner + i, v.inner, truth);
      }
    }
    int64_t right_sum = 0, all_sum = 0;
    for (int64_t c = 0; c < classes_; ++c) right_sum += right[c], all_sum += all[c];
    top[0]->mutable_data()[0] = Share(right_sum, all_sum);
    if (top.size() < 2) return;
    float* per_class = top[1]->mutable_data();
    for (int64_t c = 0; c < classes_; ++c) per_class[c] = Share(right[c], all[c]);
  }

 private:
  // As in Caffe, a tie counts against the true class; so does NaN here.
  bool IsRight(const float* scores, int64_t stride, int64_t truth) const {
    int64_t not_worse = -1;  // the true class itself
    for (int64_t c = 0; c < classes_; ++c) {
      not_worse += !(scores[c * stride] < scores[truth * stride]);
    }
    return not_worse < params_of().top_k;
  }
  static float Share(int64_t right, int64_t all) {
    return all == 0 ? 0 : static_cast<float>(right) / static_cast<float>(all);
  }

  int axis_ = 1;
  int64_t classes_ = 0;
};

PYDL_REGISTER_LAYER("Accuracy", Accuracy,
                    "Share of positions whose true class is among the top_k scores. A second top "
                    "has the share for each class.");

}  // namespace pydl
