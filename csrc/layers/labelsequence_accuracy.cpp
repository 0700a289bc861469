// LabelsequenceAccuracy: the share of sequences whose best path reads as their labels.

#include <algorithm>

#include "core/check.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

struct LabelsequenceAccuracyParams {
  int32_t blank_label = 0;

  static auto fields() {
    return Fields("labelsequence_accuracy_param",
                  Field("blank_label", &LabelsequenceAccuracyParams::blank_label,
                        "the class that stands for no label"));
  }
};

// bottoms: scores (N, T, C), which come from a Permute of CtcLoss's; labels (N, L) padded with the
// blank
// top: a scalar
class LabelsequenceAccuracy final : public LayerOf<LabelsequenceAccuracyParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int) const override { return false; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &scores = *bottom[0], &labels = *bottom[1];
    const bool match = scores.axes() == 3 && scores.shape(2) > 0 && labels.axes() >= 1 &&
                       labels.shape(0) == scores.shape(0);
    check(match, "needs scores of sequences x steps x classes and a row of labels for each ",
          "sequence, got ", shape_text(scores.shape()), " and ", shape_text(labels.shape()));
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t batch = bottom[0]->shape(0), size = bottom[0]->count(1);
    const int64_t length = bottom[1]->count(1);
    int64_t right = 0;
    for (int64_t n = 0; n < batch; ++n) {
      right += BestPath(*bottom[0], bottom[0]->data() + n * size) ==
               Labels(bottom[1]->data() + n * length, length);
    }
    top[0]->mutable_data()[0] = static_cast<float>(right / mean_divisor(batch));
  }

 private:
  // Repeats merged, then blanks dropped.
  std::vector<float> BestPath(const Blob& scores, const float* x) const {
    const int64_t steps = scores.shape(1), classes = scores.shape(2);
    const auto blank = static_cast<float>(params_of().blank_label);
    std::vector<float> path;
    float before = blank;
    for (int64_t t = 0; t < steps; ++t, x += classes) {
      const auto best = static_cast<float>(std::max_element(x, x + classes) - x);
      if (best != before && best != blank) path.push_back(best);
      before = best;
    }
    return path;
  }

  std::vector<float> Labels(const float* label, int64_t length) const {
    std::vector<float> out;
    std::copy_if(label, label + length, std::back_inserter(out),
                 [this](float v) { return v != static_cast<float>(params_of().blank_label); });
    return out;
  }
};

PYDL_REGISTER_LAYER("LabelsequenceAccuracy", LabelsequenceAccuracy,
                    "Share of sequences whose labels are what their best path reads as: the best "
                    "class of each step, repeats merged, blanks dropped.");

}  // namespace pydl
