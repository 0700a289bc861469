// NMS: greedy non-maximum suppression of boxes, as DetectionOutput and Proposal do it, by itself.
//
// With scores it is a layer of SSD's fields. Without them its boxes come best first, and the top
// has the places of those that stay: Synopsys' form, after TensorFlow's non_max_suppression, where
// top_k bounds what is kept and corners may be in any order.

#include <algorithm>
#include <map>
#include <numeric>

#include "core/check.h"
#include "layers/boxes.h"
#include "pydl/layer.h"

namespace pydl {

struct NmsLayerParams : NmsParams {
  std::optional<float> iou_threshold, confidence_threshold;
  int32_t keep_top_k = -1, axis = 0;
  bool pixels = false;

  static auto fields() {
    using P = NmsLayerParams;
    return FieldsAfter<P>(
        NmsParams::fields(),
        Field("keep_top_k", &P::keep_top_k, "most boxes that an image keeps; -1: all"),
        Field("confidence_threshold", &P::confidence_threshold, "only scores above it count"),
        Field("pixels", &P::pixels,
              "corners name pixels, both inside: a side is x2 - x1 + 1 long, as in Faster R-CNN"),
        Field("iou_threshold", &P::iou_threshold, "another name of nms_threshold"),
        Field("axis", &P::axis, "without scores: the axis along which the boxes are, 0 or 1"));
  }
};

// bottoms: boxes (R, 4): x1, y1, x2, y2, or (R, 5) with the batch item in front, each of which is
//   suppressed by itself; scores (R, ...), one for each
// tops: the boxes that are kept, by batch item, best first; perhaps their scores; and their places
// one bottom: boxes (R, 4), or (4, R) with axis 1   top: the places of those that are kept
class Nms final : public LayerOf<NmsLayerParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  Arity tops() const override { return {1, 3}; }
  bool can_propagate(int) const override { return has_scores(); }
  bool backward_reads_bottom(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs& top) override {
    const NmsLayerParams& p = params_of();
    NmsParams suppression = p;
    if (p.iou_threshold) suppression.nms_threshold = *p.iou_threshold;
    options_ = nms_options(suppression);
    options_.pixels = p.pixels;
    check(p.axis == 0 || (p.axis == 1 && !has_scores()), "axis must be 0",
          has_scores() ? " where there are scores" : " or 1", ", got ", p.axis);
    if (has_scores()) {
      options_.most = p.keep_top_k;
      if (p.confidence_threshold) options_.least_score = *p.confidence_threshold;
      return;
    }
    check(top.size() == 1, "without scores there is one top, the places of the boxes that are ",
          "kept; give the scores as a second bottom");
    check(p.keep_top_k < 0 && !p.confidence_threshold,
          "keep_top_k and confidence_threshold go with scores; without them top_k is how many ",
          "boxes are kept");
    std::swap(options_.most, options_.top_k);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& boxes = *bottom[0];
    const int axis = params_of().axis;
    check(boxes.axes() > axis, "needs boxes (R, 4), got ", shape_text(boxes.shape()));
    rows_ = boxes.shape(axis);
    columns_ = axis == 1 ? boxes.shape(0) : boxes.count(1);
    check(columns_ == 4 || (columns_ == 5 && has_scores()),
          has_scores() ? "needs boxes (R, 4), or (R, 5) with the batch item in front, got "
                       : "without scores it needs boxes (R, 4), or (4, R) with axis 1, got ",
          shape_text(boxes.shape()));
    if (has_scores()) {
      const Blob& scores = *bottom[1];
      check(scores.axes() > 0 && scores.shape(0) == rows_ && scores.count() == rows_,
            "needs a score for each of ", rows_, " boxes, got ", shape_text(scores.shape()));
    }
    ReshapeTops(bottom, top, rows_);  // only Forward knows how many there are
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (has_scores()) {
      KeepOfEach(bottom[0]->data(), bottom[1]->data());
    } else {
      KeepOfOrdered(bottom[0]->data());
    }
    ReshapeTops(bottom, top, static_cast<int64_t>(kept_.size()));
    if (has_scores()) {
      for (size_t i = 0; i < std::min<size_t>(top.size(), 2); ++i) Pick(*bottom[i], top[i]);
    }
    if (Blob* places = Places(top)) {
      std::copy(kept_.begin(), kept_.end(), places->mutable_data());
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (down[i] == Propagate::kNo) continue;
      float* dx = bottom[i]->mutable_diff();
      std::fill_n(dx, bottom[i]->count(), 0.0f);
      if (i >= top.size()) continue;
      const int64_t columns = bottom[i]->count(1);
      const float* dy = top[i]->diff();
      for (const int32_t row : kept_) {
        std::copy_n(dy, columns, dx + row * columns);
        dy += columns;
      }
    }
  }

 private:
  bool has_scores() const { return spec().bottom.size() > 1; }
  // Null where nobody asks for them.
  Blob* Places(const Blobs& top) const {
    const size_t last = has_scores() ? 2 : 0;
    return last < top.size() ? top[last] : nullptr;
  }

  void ReshapeTops(const Blobs& bottom, const Blobs& top, int64_t rows) const {
    if (Blob* places = Places(top)) places->Reshape({rows});
    if (!has_scores()) return;
    for (size_t i = 0; i < std::min<size_t>(top.size(), 2); ++i) {
      Shape shape = bottom[i]->shape();
      shape[0] = rows;
      top[i]->Reshape(shape);
    }
  }

  void KeepOfEach(const float* boxes, const float* scores) {
    const Boxes planes(rows_, boxes + columns_ - 4, columns_);
    std::map<float, std::vector<int32_t>> items;
    for (int64_t i = 0; i < rows_; ++i) {
      const float item = columns_ == 5 ? boxes[i * columns_] : 0;
      check(item >= 0, "row ", i, " of the boxes is of batch item ", item);
      items[item].push_back(static_cast<int32_t>(i));
    }
    kept_.clear();
    for (const auto& [item, rows] : items) {
      std::vector<float> own;
      for (const int32_t row : rows) own.push_back(scores[row]);
      const std::vector<int32_t> kept = suppress(planes, rows, own, options_);
      kept_.insert(kept_.end(), kept.begin(), kept.end());
    }
  }

  void KeepOfOrdered(const float* boxes) {
    const bool along_rows = params_of().axis == 0;
    const int64_t row = along_rows ? 4 : 1, corner = along_rows ? 1 : rows_;
    std::vector<float> sorted(4 * rows_);  // the lower corner first
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t k = 0; k < 2; ++k) {
        const float a = boxes[i * row + k * corner], b = boxes[i * row + (k + 2) * corner];
        sorted[4 * i + k] = std::min(a, b);
        sorted[4 * i + k + 2] = std::max(a, b);
      }
    }
    const std::vector<float> equal(rows_, 0.0f);  // of equal scores the first is the best
    kept_ = suppress(Boxes(rows_, sorted.data()), equal, options_);
  }

  void Pick(const Blob& from, Blob* to) const {
    const int64_t columns = from.count(1);
    const float* x = from.data();
    float* y = to->mutable_data();
    for (const int32_t row : kept_) y = std::copy_n(x + row * columns, columns, y);
  }

  NmsOptions options_;
  int64_t rows_ = 0, columns_ = 0;
  std::vector<int32_t> kept_;
};

PYDL_REGISTER_LAYER("NMS", Nms,
                    "Of boxes that overlap only the best: tops are the boxes that stay, their "
                    "scores and their places. The tops change their size.");

}  // namespace pydl
