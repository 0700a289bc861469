// ProposalTarget: the regions that Faster R-CNN's second stage learns from (Ren et al. 2015,
// arXiv:1506.01497), as py-faster-rcnn's ProposalTargetLayer samples them: of the proposals and the
// ground truth, a random choice of those that overlap an object enough and of those that do not.
// Where no region overlaps an object by bg_thresh_lo, as in an image without objects, those below
// it are taken.

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "layers/anchors.h"
#include "pydl/layer.h"

namespace pydl {

struct ProposalTargetParams {
  int32_t num_classes = 0;
  bool class_agnostic = false;
  int32_t batch_size = 128;
  float fg_fraction = 0.25f, fg_thresh = 0.5f, bg_thresh_hi = 0.5f, bg_thresh_lo = 0.1f;
  std::vector<float> bbox_inside_weights{1, 1, 1, 1};
  std::vector<float> bbox_normalize_means{0, 0, 0, 0}, bbox_normalize_stds{1, 1, 1, 1};

  static auto fields() {
    using P = ProposalTargetParams;
    return Fields(
        "proposal_target_param",
        Field("num_classes", &P::num_classes, "classes with the background, 0; required"),
        Field("class_agnostic", &P::class_agnostic,
              "one box regression for all classes of objects: the targets are of two classes"),
        Field("batch_size", &P::batch_size, "regions to choose; -1: all"),
        Field("fg_fraction", &P::fg_fraction, "most of them that are of objects, as a share"),
        Field("fg_thresh", &P::fg_thresh,
              "least intersection over union with an object of a region that is of it"),
        Field("bg_thresh_hi", &P::bg_thresh_hi, "background regions are below this ..."),
        Field("bg_thresh_lo", &P::bg_thresh_lo, "... and not below this"),
        Field("bbox_inside_weights", &P::bbox_inside_weights,
              "four weights of the regression's differences; 1 each if absent"),
        Field("bbox_normalize_means", &P::bbox_normalize_means,
              "subtracted from the four targets; 0 each if absent"),
        Field("bbox_normalize_stds", &P::bbox_normalize_stds,
              "what they are divided by then; 1 each if absent. py-faster-rcnn trains with 0.1, "
              "0.1, 0.2 and 0.2, and multiplies the learned weights by them at the end"));
  }
};

// bottoms: regions (R, 5): [0, x1, y1, x2, y2], ground truth (G, 5): [x1, y1, x2, y2, label]
// tops: regions (S, 5), labels (S), targets of the regression, inside and outside weights
//   (S, 4 * classes): four numbers at the place of the region's class
class ProposalTarget final : public LayerOf<ProposalTargetParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {5, 5}; }
  bool can_propagate(int) const override { return false; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check(p.num_classes > 1,
          "num_classes must be given and at least 2, the background and one more, got ",
          p.num_classes);
    check(p.batch_size > 0 || p.batch_size == -1, "batch_size must be positive, or -1, got ",
          p.batch_size);
    for (const auto* four :
         {&p.bbox_inside_weights, &p.bbox_normalize_means, &p.bbox_normalize_stds}) {
      check(four->size() == 4,
            "bbox_inside_weights, bbox_normalize_means and bbox_normalize_stds take four numbers "
            "each, got ",
            four->size());
    }
    for (const float std : p.bbox_normalize_stds) {
      check(std > 0, "bbox_normalize_stds must be positive, got ", std);
    }
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(bottom[0]->axes() >= 2 && bottom[0]->count(1) == 5,
          "takes regions [0, x1, y1, x2, y2], a bottom (R, 5), got ",
          shape_text(bottom[0]->shape()));
    const int64_t all = bottom[0]->shape(0) + bottom[1]->count() / 5;
    const int64_t most = params_of().batch_size > 0 ? params_of().batch_size : all;
    ReshapeTops(std::min(most, all), top);  // only Forward knows how many there are
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const std::vector<Truth> truths = read_truths(*bottom[1]);
    CheckLabels(truths);
    const std::vector<Region> regions = Regions(*bottom[0], truths);
    Random random(context().seed, stream_of(name()) + static_cast<uint64_t>(++draws_));
    const std::vector<int64_t> objects = ChooseObjects(regions, &random);
    const auto count = static_cast<int64_t>(objects.size());
    std::vector<int64_t> chosen = ChooseBackground(regions, count, &random);
    chosen.insert(chosen.begin(), objects.begin(), objects.end());

    ReshapeTops(static_cast<int64_t>(chosen.size()), top);
    float* rois = top[0]->mutable_data();
    float* labels = top[1]->mutable_data();
    for (int i = 2; i < 5; ++i) std::fill_n(top[i]->mutable_data(), top[i]->count(), 0.0f);
    for (size_t i = 0; i < chosen.size(); ++i) {
      const Region& region = regions[chosen[i]];
      const float row[] = {0, region.box.x1, region.box.y1, region.box.x2, region.box.y2};
      std::copy_n(row, 5, rois + 5 * i);
      labels[i] = static_cast<int64_t>(i) < count ? truths[region.match.truth].label : 0;
      if (labels[i] > 0) WriteTargets(static_cast<int64_t>(i), region, truths, top);
    }
  }

 private:
  struct Region {
    PixelBox box;
    Match match;
  };

  int64_t Slots() const { return params_of().class_agnostic ? 2 : params_of().num_classes; }

  void ReshapeTops(int64_t count, const Blobs& top) const {
    top[0]->Reshape({count, 5});
    top[1]->Reshape({count});
    for (int i = 2; i < 5; ++i) top[i]->Reshape({count, 4 * Slots()});
  }

  void CheckLabels(const std::vector<Truth>& truths) const {
    const int32_t classes = params_of().num_classes;
    for (const Truth& truth : truths) {
      const bool known = truth.label < static_cast<float>(classes) || params_of().class_agnostic;
      check(truth.label >= 0 && known, "ground truth has label ", truth.label,
            ", but num_classes is ", classes, ": labels go from 1 to ", classes - 1);
    }
  }

  static std::vector<Region> Regions(const Blob& rois, const std::vector<Truth>& truths) {
    std::vector<Region> regions;
    const float* row = rois.data();
    for (int64_t i = 0; i < rois.shape(0); ++i, row += 5) {
      check(row[0] == 0, "takes regions of one image, number 0; region ", i, " is of image ",
            row[0]);
      const PixelBox box{row[1], row[2], row[3], row[4]};
      regions.push_back({box, best_match(box, truths)});
    }
    for (const Truth& truth : truths) {
      regions.push_back({truth.box, best_match(truth.box, truths)});
    }
    return regions;
  }

  std::vector<int64_t> ChooseObjects(const std::vector<Region>& regions, Random* random) const {
    const auto& p = params_of();
    const auto share = std::nearbyint(p.fg_fraction * static_cast<float>(p.batch_size));
    std::vector<int64_t> found;
    for (size_t i = 0; i < regions.size(); ++i) {
      const Match& match = regions[i].match;
      if (match.truth >= 0 && match.overlap >= p.fg_thresh) {
        found.push_back(static_cast<int64_t>(i));
      }
    }
    return choose(found, p.batch_size > 0 ? static_cast<int64_t>(share) : kAll, random);
  }

  std::vector<int64_t> ChooseBackground(const std::vector<Region>& regions, int64_t objects,
                                        Random* random) const {
    const auto& p = params_of();
    std::vector<int64_t> near, far;  // by whether they overlap an object by bg_thresh_lo
    for (size_t i = 0; i < regions.size(); ++i) {
      const double found = regions[i].match.overlap;
      if (found < p.bg_thresh_hi) {
        (found >= p.bg_thresh_lo ? near : far).push_back(static_cast<int64_t>(i));
      }
    }
    const int64_t most = p.batch_size > 0 ? p.batch_size - objects : kAll;
    return choose(objects == 0 && near.empty() ? far : near, most, random);
  }

  void WriteTargets(int64_t i, const Region& region, const std::vector<Truth>& truths,
                    const Blobs& top) const {
    const auto& p = params_of();
    const Truth& truth = truths[region.match.truth];
    const int64_t slot = p.class_agnostic ? 1 : static_cast<int64_t>(truth.label);
    const int64_t at = 4 * (i * Slots() + slot);
    const auto deltas = box_deltas(region.box, truth.box);
    for (int k = 0; k < 4; ++k) {
      const float target = (deltas[k] - p.bbox_normalize_means[k]) / p.bbox_normalize_stds[k];
      top[2]->update_data()[at + k] = target;
      top[3]->update_data()[at + k] = p.bbox_inside_weights[k];
      top[4]->update_data()[at + k] = p.bbox_inside_weights[k] > 0 ? 1 : 0;
    }
  }

  static constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  int64_t draws_ = 0;  // forward passes, each of which chooses at random
};

PYDL_REGISTER_LAYER("ProposalTarget", ProposalTarget,
                    "A random choice of regions [0, x1, y1, x2, y2] with labels, box regression "
                    "targets and weights, from ground truth boxes [x1, y1, x2, y2, label] of one "
                    "image. Their number changes from pass to pass.");

}  // namespace pydl
