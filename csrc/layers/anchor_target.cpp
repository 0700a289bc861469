// AnchorTarget: what a region proposal network is to learn (Faster R-CNN: Ren et al. 2015,
// arXiv:1506.01497), as py-faster-rcnn's AnchorTargetLayer says: an anchor inside of the image is
// of an object if it overlaps one by positive_overlap, or more than any other anchor does; of none
// below negative_overlap; a random choice of both counts. An object that no anchor touches makes
// none positive, where py-faster-rcnn takes all those that do not touch it.

#include <algorithm>
#include <cmath>

#include "layers/anchor_params.h"
#include "layers/anchors.h"
#include "pydl/layer.h"

namespace pydl {

struct AnchorTargetParams {
  int32_t feat_stride = 16, base_size = 16;
  std::vector<float> ratio{0.5f, 1, 2}, scale{8, 16, 32};
  float allowed_border = 0, positive_overlap = 0.7f, negative_overlap = 0.3f;
  bool clobber_positives = false;
  int32_t batch_size = 256;
  float fg_fraction = 0.5f;
  std::vector<float> bbox_inside_weights{1, 1, 1, 1};
  float positive_weight = -1;

  static auto fields() {
    using P = AnchorTargetParams;
    return Fields(
        "anchor_target_param", Field("feat_stride", &P::feat_stride, kStrideHelp),
        Field("base_size", &P::base_size, kBaseHelp), Field("ratio", &P::ratio, kRatioHelp),
        Field("scale", &P::scale, kScaleHelp),
        Field("allowed_border", &P::allowed_border,
              "pixels that an anchor may lie outside of the image"),
        Field("positive_overlap", &P::positive_overlap,
              "least intersection over union with an object of an anchor that is of it"),
        Field("negative_overlap", &P::negative_overlap,
              "anchors below this with all objects are of none"),
        Field("clobber_positives", &P::clobber_positives,
              "below negative_overlap an anchor is of none, even if it is an object's best"),
        Field("batch_size", &P::batch_size, "anchors that count"),
        Field("fg_fraction", &P::fg_fraction, "most of them that are of objects, as a share"),
        Field("bbox_inside_weights", &P::bbox_inside_weights,
              "four weights of the regression's differences; 1 each if absent"),
        Field("positive_weight", &P::positive_weight,
              "from 0 to 1: share of the loss that anchors of objects have; below 0: all anchors "
              "count the same"));
  }
};

// bottoms: scores (1, 2 A, H, W), ground truth (G, 5): [x1, y1, x2, y2, label], im_info (1, 3), and
//   the image, if given, which is not looked at
// tops: labels (1, 1, A * H, W): 1, 0 or -1; targets of the regression, inside and outside weights
//   (1, 4 A, H, W)
class AnchorTarget final : public LayerOf<AnchorTargetParams> {
 public:
  Arity bottoms() const override { return {3, 4}; }
  Arity tops() const override { return {4, 4}; }
  bool can_propagate(int) const override { return false; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check_anchor_params(p);
    check(p.batch_size > 0, "batch_size must be positive, got ", p.batch_size);
    check(p.bbox_inside_weights.size() == 4, "bbox_inside_weights takes four numbers, got ",
          p.bbox_inside_weights.size());
    check(p.positive_weight < 1, "positive_weight must be below 1, got ", p.positive_weight);
    anchors_ = make_anchors(p.base_size, p.ratio, p.scale);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& scores = *bottom[0];
    check(scores.axes() == 4 && scores.shape(0) == 1,
          "takes one image at a time, scores (1, 2 A, H, W), got ", shape_text(scores.shape()));
    check_image_info(*bottom[2], 1);
    const auto count = static_cast<int64_t>(anchors_.size());
    const int64_t h = scores.shape(2), w = scores.shape(3);
    top[0]->Reshape({1, 1, count * h, w});
    for (int i = 1; i < 4; ++i) top[i]->Reshape({1, 4 * count, h, w});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of();
    const int64_t places = bottom[0]->count(2);
    const std::vector<Truth> truths = read_truths(*bottom[1]);
    FindInside(bottom);
    std::vector<int8_t> labels = Labels(truths);
    Random random(context().seed, stream_of(name()) + static_cast<uint64_t>(++draws_));
    const auto most = static_cast<int64_t>(p.fg_fraction * static_cast<float>(p.batch_size));
    const int64_t positives = Keep(1, most, &random, &labels);
    const int64_t negatives = Keep(0, p.batch_size - positives, &random, &labels);

    std::fill_n(top[0]->mutable_data(), top[0]->count(), -1.0f);
    for (int i = 1; i < 4; ++i) std::fill_n(top[i]->mutable_data(), top[i]->count(), 0.0f);
    float* label = top[0]->update_data();
    float* target = top[1]->update_data();
    float* inside = top[2]->update_data();
    float* outside = top[3]->update_data();
    for (size_t i = 0; i < inside_.size(); ++i) {
      const Inside& in = inside_[i];
      label[in.anchor * places + in.place] = labels[i];
      const int64_t at = 4 * in.anchor * places + in.place;
      if (in.match.truth >= 0) {
        const auto deltas = box_deltas(in.box, truths[in.match.truth].box);
        for (int k = 0; k < 4; ++k) target[at + k * places] = deltas[k];
      }
      const float weight = Weight(labels[i], positives, negatives);
      for (int k = 0; k < 4; ++k) {
        if (labels[i] == 1) inside[at + k * places] = p.bbox_inside_weights[k];
        outside[at + k * places] = weight;
      }
    }
  }

 private:
  // An anchor within the image, and the object that it overlaps most.
  struct Inside {
    PixelBox box;
    int64_t anchor, place;
    Match match;
  };

  void FindInside(const Blobs& bottom) {
    const int64_t width = bottom[0]->shape(3), stride = params_of().feat_stride;
    const ImageInfo info = read_image_info(*bottom[2], 0);
    const float border = params_of().allowed_border;
    inside_.clear();
    for (int64_t i = 0; i < bottom[0]->count(2); ++i) {
      for (size_t a = 0; a < anchors_.size(); ++a) {
        const PixelBox box = moved(anchors_[a], i % width * stride, i / width * stride);
        const bool in = box.x1 >= -border && box.y1 >= -border && box.x2 < info.width + border &&
                        box.y2 < info.height + border;
        if (in) inside_.push_back({box, static_cast<int64_t>(a), i, {}});
      }
    }
  }

  std::vector<int8_t> Labels(const std::vector<Truth>& truths) {
    const auto& p = params_of();
    std::vector<int8_t> labels(inside_.size(), -1);
    std::vector<double> best(truths.size(), 0);
    for (Inside& in : inside_) {
      in.match = best_match(in.box, truths);
      for (size_t t = 0; t < truths.size(); ++t) {
        best[t] = std::max(best[t], overlap(in.box, truths[t].box));
      }
    }
    for (size_t i = 0; i < inside_.size(); ++i) {
      const bool negative = inside_[i].match.overlap < p.negative_overlap;
      bool positive = !truths.empty() && inside_[i].match.overlap >= p.positive_overlap;
      for (size_t t = 0; t < truths.size() && !positive; ++t) {
        positive = best[t] > 0 && overlap(inside_[i].box, truths[t].box) == best[t];
      }
      if (negative) labels[i] = 0;
      if (positive && !(negative && p.clobber_positives)) labels[i] = 1;
    }
    return labels;
  }

  // Of the anchors with this label all but `most` get -1. Returns how many are left.
  static int64_t Keep(int8_t label, int64_t most, Random* random, std::vector<int8_t>* labels) {
    std::vector<int64_t> found;
    for (size_t i = 0; i < labels->size(); ++i) {
      if ((*labels)[i] == label) found.push_back(static_cast<int64_t>(i));
    }
    const std::vector<int64_t> kept = choose(found, most, random);
    for (const int64_t i : found) (*labels)[i] = -1;
    for (const int64_t i : kept) (*labels)[i] = label;
    return static_cast<int64_t>(kept.size());
  }

  float Weight(int8_t label, int64_t positives, int64_t negatives) const {
    const float share = params_of().positive_weight;
    if (label < 0) return 0;
    if (share < 0) return 1 / static_cast<float>(positives + negatives);
    return label == 1 ? share / static_cast<float>(positives)
                      : (1 - share) / static_cast<float>(negatives);
  }

  std::vector<PixelBox> anchors_;
  std::vector<Inside> inside_;
  int64_t draws_ = 0;  // forward passes, each of which chooses at random
};

PYDL_REGISTER_LAYER("AnchorTarget", AnchorTarget,
                    "Labels, box regression targets and weights of a region proposal network's "
                    "anchors, from ground truth boxes [x1, y1, x2, y2, label] of one image.");

}  // namespace pydl
