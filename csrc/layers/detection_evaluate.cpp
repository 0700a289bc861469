// DetectionEvaluate: which detections are right, for the mean average precision that a solver with
// eval_type "detection" reports (SSD's fork of Caffe).

#include <algorithm>

#include "core/check.h"
#include "layers/ground_truth.h"
#include "layers/original_image.h"
#include "pydl/layer.h"

namespace pydl {

struct DetectionEvaluateParams {
  uint32_t num_classes = 0;
  int32_t background_label_id = 0;
  float overlap_threshold = 0.5f;
  bool evaluate_difficult_gt = true;
  std::string name_size_file;
  std::optional<ResizeParams> resize_param;

  static auto fields() {
    using P = DetectionEvaluateParams;
    return Fields(
        "detection_evaluate_param",
        Field("num_classes", &P::num_classes, "with the background's; required"),
        Field("background_label_id", &P::background_label_id, "class of no object; -1: none"),
        Field("overlap_threshold", &P::overlap_threshold, "least overlap of a right detection"),
        Field("evaluate_difficult_gt", &P::evaluate_difficult_gt,
              "difficult boxes are to be found; else those found count neither way"),
        Field("name_size_file", &P::name_size_file,
              "lines `name height width` in the order of the images: overlaps are in pixels"),
        Field("resize_param", &P::resize_param, "how the images were resized; for name_size_file"));
  }
};

// bottoms: detections (1, 1, D, 7), of DetectionOutput; ground truth (1, 1, G, 8)
// top: (1, 1, classes + D, 5): for each class but the background [-1, class, boxes, -1, -1]; then
// for each detection [image, class, score, right, wrong], both 0 for a difficult box that does not
// count.
class DetectionEvaluate final : public LayerOf<DetectionEvaluateParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&images_done_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const DetectionEvaluateParams& p = params_of();
    check(p.num_classes > 0, "detection_evaluate_param.num_classes must be given and positive");
    check(p.overlap_threshold > 0, "overlap_threshold must be positive, got ", p.overlap_threshold);
    if (!p.name_size_file.empty()) images_ = read_original_images(p.name_size_file);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(bottom[0]->axes() >= 2 && bottom[0]->shape(-1) == kDetection,
          "detections must be 1 x 1 x their number x ", kDetection,
          ", as DetectionOutput makes them, but are ", shape_text(bottom[0]->shape()));
    check_ground_truth_shape(*bottom[1]);
    top[0]->Reshape({1, 1, Classes() + bottom[0]->count() / kDetection, kColumns});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const DetectionEvaluateParams& p = params_of();
    GroundTruth truth = read_ground_truth(*bottom[1], -1, p.background_label_id, true);
    Detections detections = Read(*bottom[0]);
    ToPixels(&truth, &detections);
    rows_.clear();
    AddCounts(truth);
    for (auto& [image, by_label] : detections) {
      for (auto& [label, found] : by_label) Evaluate(image, label, truth[image], &found);
    }
    top[0]->Reshape({1, 1, static_cast<int64_t>(rows_.size()), kColumns});
    float* y = top[0]->mutable_data();
    for (const Row& row : rows_) y = std::copy(row.begin(), row.end(), y);
  }

 private:
  static constexpr int64_t kDetection = 7, kColumns = 5;
  using Row = std::array<float, kColumns>;
  struct Detection {
    float score;
    Box box;
  };
  using Detections = std::map<int64_t, std::map<int64_t, std::vector<Detection>>>;

  int64_t Classes() const {
    const auto& p = params_of();
    const bool has_background =
        p.background_label_id >= 0 && p.background_label_id < int64_t{p.num_classes};
    return p.num_classes - has_background;
  }

  Detections Read(const Blob& blob) const {
    const float* row = blob.data();
    Detections found;
    for (int64_t i = 0; i < blob.count() / kDetection; ++i, row += kDetection) {
      if (row[0] == -1 || row[1] == -1) continue;
      check(row[0] >= 0 && row[1] >= 0 && row[1] < static_cast<float>(params_of().num_classes),
            "row ", i, " of the detections is for image ", row[0], " and class ", row[1],
            "; num_classes is ", params_of().num_classes);
      check(static_cast<int64_t>(row[1]) != params_of().background_label_id, "row ", i,
            " of the detections is of the background's class");
      found[static_cast<int64_t>(row[0])][static_cast<int64_t>(row[1])].push_back(
          {row[2], {row[3], row[4], row[5], row[6]}});
    }
    return found;
  }

  // With name_size_file. Images come in its order, each pass from its start.
  void ToPixels(GroundTruth* truth, Detections* detections) {
    if (images_.empty()) return;
    int64_t images = 0;
    for (const auto& [image, boxes] : *truth) images = std::max(images, image + 1);
    for (const auto& [image, found] : *detections) images = std::max(images, image + 1);
    const auto original = [&](int64_t image) {
      return images_[(images_done_ + image) % static_cast<int64_t>(images_.size())];
    };
    for (auto& [image, boxes] : *truth) {
      for (TruthBox& t : boxes) t.box = InImage(t.box, original(image));
    }
    for (auto& [image, by_label] : *detections) {
      for (auto& [label, found] : by_label) {
        for (Detection& d : found) d.box = InImage(d.box, original(image));
      }
    }
    images_done_ = (images_done_ + images) % static_cast<int64_t>(images_.size());
  }

  Box InImage(const Box& box, const OriginalImage& image) const {
    const auto& resize = params_of().resize_param;
    return in_original(box, image, resize ? &*resize : nullptr);
  }

  void AddCounts(const GroundTruth& truth) {
    std::map<int64_t, int64_t> boxes;
    for (const auto& [image, of_image] : truth) {
      for (const TruthBox& t : of_image) {
        boxes[t.label] += params_of().evaluate_difficult_gt || !t.difficult;
      }
    }
    for (int64_t c = 0; c < params_of().num_classes; ++c) {
      if (c == params_of().background_label_id) continue;
      rows_.push_back({-1, static_cast<float>(c), static_cast<float>(boxes[c]), -1, -1});
    }
  }

  // The best detection of a box is right, further ones are wrong.
  void Evaluate(int64_t image, int64_t label, const std::vector<TruthBox>& truth,
                std::vector<Detection>* found) {
    std::stable_sort(found->begin(), found->end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
    std::vector<bool> is_found(truth.size(), false);
    const float extra = images_.empty() ? 0 : 1;
    for (const Detection& d : *found) {
      int64_t nearest = -1;
      float most = -1;
      for (size_t t = 0; t < truth.size(); ++t) {
        if (truth[t].label != label) continue;
        const float shared = overlap(d.box, truth[t].box, extra);
        if (shared > most) most = shared, nearest = static_cast<int64_t>(t);
      }
      float right = 0, wrong = 1;
      if (most >= params_of().overlap_threshold) {
        if (truth[nearest].difficult && !params_of().evaluate_difficult_gt) {
          wrong = 0;
        } else if (!is_found[nearest]) {
          is_found[nearest] = true;
          right = 1;
          wrong = 0;
        }
      }
      rows_.push_back(
          {static_cast<float>(image), static_cast<float>(label), d.score, right, wrong});
    }
  }

  std::vector<OriginalImage> images_;
  int64_t images_done_ = 0;
  std::vector<Row> rows_;
};

PYDL_REGISTER_LAYER("DetectionEvaluate", DetectionEvaluate,
                    "Which detections are right, for the mean average precision that a solver "
                    "with eval_type \"detection\" reports.");

}  // namespace pydl
