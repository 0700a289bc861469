// DetectionOutput: from a detector's predictions to boxes, classes and scores (Liu et al. 2016,
// "SSD", arXiv:1512.02325).
//
// As in SSD's fork of Caffe boxes are not clipped, scores must be above the threshold, keep_top_k
// acts on all classes of an image together, and an image without detections has no row, unless no
// image has any. With background_label_id -1 every class counts, also with shared locations. Files
// of results are written as there.

#include <algorithm>

#include "core/check.h"
#include "kernels/parallel.h"
#include "layers/boxes.h"
#include "layers/detection_files.h"
#include "layers/prior_blob.h"

namespace pydl {

struct DetectionOutputParams {
  uint32_t num_classes = 0;
  bool share_location = true, variance_encoded_in_target = false, visualize = false;
  int32_t background_label_id = 0, keep_top_k = -1;
  NmsParams nms_param;
  SaveOutputParams save_output_param;
  BoxCode code_type = BoxCode::kCorner;
  std::optional<float> confidence_threshold, visualize_threshold;
  std::string save_file;

  static auto fields() {
    using P = DetectionOutputParams;
    return Fields(
        "detection_output_param",
        Field("num_classes", &P::num_classes, "with the background's; required"),
        Field("share_location", &P::share_location, "one box per prior for all classes"),
        Field("background_label_id", &P::background_label_id, "class of no object; -1: none"),
        Field("nms_param", &P::nms_param, "which overlapping boxes of a class are dropped"),
        Field("save_output_param", &P::save_output_param, "files that detections are written to"),
        Field("code_type", &P::code_type, "how boxes are told relative to priors"),
        Field("variance_encoded_in_target", &P::variance_encoded_in_target,
              "locations are not multiplied by the priors' variances"),
        Field("keep_top_k", &P::keep_top_k, "most detections of an image; -1: all"),
        Field("confidence_threshold", &P::confidence_threshold, "only scores above it count"),
        Field("visualize", &P::visualize, "read, to no effect: pydl detect draws boxes"),
        Field("visualize_threshold", &P::visualize_threshold, "read, to no effect"),
        Field("save_file", &P::save_file, "read, to no effect"));
  }
};

// bottoms: locations (N, P L 4), L = 1 where they are shared, else the number of classes C; scores
// (N, P C), already normalised; priors (1, 2, P 4)
// top: (1, 1, detections, 7): image, class, score, x1, y1, x2, y2, as parts of the image; by image,
// then class, best first. No detections at all: a row [image, -1, ..., -1] for each image. After a
// Reshape it is the largest possible.
class DetectionOutput final : public LayerOf<DetectionOutputParams> {
 public:
  Arity bottoms() const override { return {3, 3}; }
  bool can_propagate(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    const DetectionOutputParams& p = params_of();
    check(p.num_classes > 0, "detection_output_param.num_classes must be given and positive");
    nms_ = nms_options(p.nms_param);
    if (p.confidence_threshold) nms_.least_score = *p.confidence_threshold;
    files_ = open_detection_files(p.save_output_param, p.num_classes, p.background_label_id);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const DetectionOutputParams& p = params_of();
    images_ = bottom[0]->axes() > 0 ? bottom[0]->shape(0) : 0;
    classes_ = p.num_classes;
    priors_ = check_predictions(*bottom[0], *bottom[1], *bottom[2], p.share_location ? 1 : classes_,
                                classes_);
    const bool has_background = p.background_label_id >= 0 && p.background_label_id < classes_;
    const int64_t per_class = nms_.top_k < 0 ? priors_ : std::min(priors_, nms_.top_k);
    int64_t most = per_class * (classes_ - has_background);
    if (p.keep_top_k >= 0) most = std::min<int64_t>(most, p.keep_top_k);
    top[0]->Reshape({1, 1, images_ * std::max<int64_t>(most, 1), kColumns});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const float* locations = bottom[0]->data();
    const float* scores = bottom[1]->data();
    const PriorBoxes priors = read_priors(*bottom[2]);
    rows_.clear();
    for (int64_t n = 0; n < images_; ++n) {
      const size_t before = rows_.size();
      AddDetections(n, locations + n * bottom[0]->count(1), scores + n * priors_ * classes_,
                    priors);
      if (files_) files_->Add(std::span(rows_).subspan(before));
    }
    if (rows_.empty()) {
      for (int64_t n = 0; n < images_; ++n) {
        rows_.push_back({static_cast<float>(n), -1, -1, -1, -1, -1, -1});
      }
    }
    top[0]->Reshape({1, 1, static_cast<int64_t>(rows_.size()), kColumns});
    float* y = top[0]->mutable_data();
    for (const Row& row : rows_) y = std::copy(row.begin(), row.end(), y);
  }

 private:
  using Row = DetectionRow;
  static constexpr int64_t kColumns = std::tuple_size_v<Row>;

  // The priors whose score for a class counts, and these scores.
  struct Candidates {
    std::vector<int32_t> priors;
    std::vector<float> scores;
  };

  // scores: (P, C) of one image
  std::vector<Candidates> FindCandidates(const float* scores) {
    std::vector<Candidates> found(classes_);
    above_.resize(priors_ * classes_);
    const int64_t count =
        kernels::box_kernels().above(priors_ * classes_, scores, nms_.least_score, above_.data());
    for (int64_t k = 0; k < count; ++k) {
      const int32_t prior = above_[k] / static_cast<int32_t>(classes_);
      const int64_t c = above_[k] - prior * classes_;
      if (c == params_of().background_label_id) continue;
      found[c].priors.push_back(prior);
      found[c].scores.push_back(scores[above_[k]]);
    }
    return found;
  }

  // locations: (P, L, 4), scores: (P, C) of image n
  void AddDetections(int64_t n, const float* locations, const float* scores,
                     const PriorBoxes& priors) {
    const DetectionOutputParams& p = params_of();
    const std::vector<Candidates> candidates = FindCandidates(scores);
    const Boxes* variances = p.variance_encoded_in_target ? nullptr : &priors.variances;
    const bool shared = p.share_location;
    const int64_t stride = shared ? 4 : classes_ * 4;
    std::vector<Boxes> boxes(shared ? 1 : classes_);
    if (shared) boxes[0] = priors.boxes.Decode(locations, stride, variances, p.code_type);
    std::vector<std::vector<int32_t>> kept(classes_);
    kernels::parallel_for(classes_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        if (candidates[c].priors.empty()) continue;
        if (!shared) {
          boxes[c] = priors.boxes.Decode(locations + c * 4, stride, variances, p.code_type);
        }
        kept[c] = suppress(boxes[shared ? 0 : c], candidates[c].priors, candidates[c].scores, nms_);
      }
    });
    const auto score = [&](int64_t c, int32_t prior) { return scores[prior * classes_ + c]; };
    KeepBest(score, &kept);
    for (int64_t c = 0; c < classes_; ++c) {
      for (int32_t prior : kept[c]) {
        const Box box = boxes[shared ? 0 : c][prior];
        rows_.push_back({static_cast<float>(n), static_cast<float>(c), score(c, prior), box.x1,
                         box.y1, box.x2, box.y2});
      }
    }
  }

  // keep_top_k of all classes together; a class keeps the order of its scores.
  template <class Score>
  void KeepBest(const Score& score, std::vector<std::vector<int32_t>>* kept) const {
    struct Detection {
      float score;
      int64_t c;
      size_t place;
    };
    std::vector<Detection> all;
    for (int64_t c = 0; c < classes_; ++c) {
      for (size_t i = 0; i < (*kept)[c].size(); ++i) all.push_back({score(c, (*kept)[c][i]), c, i});
    }
    const int64_t most = params_of().keep_top_k;
    if (most < 0 || static_cast<int64_t>(all.size()) <= most) return;
    std::stable_sort(all.begin(), all.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
    all.resize(most);
    std::vector<size_t> counts(classes_, 0);  // a class's best come first in the order of all
    for (const Detection& d : all) ++counts[d.c];
    for (int64_t c = 0; c < classes_; ++c) (*kept)[c].resize(counts[c]);
  }

  NmsOptions nms_;
  std::unique_ptr<DetectionFiles> files_;
  int64_t images_ = 0, priors_ = 0, classes_ = 0;
  std::vector<int32_t> above_;
  std::vector<Row> rows_;
};

PYDL_REGISTER_LAYER("DetectionOutput", DetectionOutput,
                    "Boxes, classes and scores from a detector's predictions relative to priors, "
                    "without those that overlap better ones. The top changes its size.");

}  // namespace pydl
