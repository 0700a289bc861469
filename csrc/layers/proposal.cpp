// Proposal: regions of interest from a region proposal network's scores and box regression (Faster
// R-CNN: Ren et al. 2015, arXiv:1506.01497), as py-faster-rcnn's ProposalLayer makes them: anchors
// at every position, moved by the regression and cut to the image; those too small go, the best
// stay, and of those that overlap the best. Of equal scores the first. Proposals with a NaN as
// score or place are left out.

#include <algorithm>
#include <cmath>

#include "layers/anchor_params.h"
#include "layers/anchors.h"
#include "layers/boxes.h"
#include "pydl/layer.h"

namespace pydl {

struct ProposalParams {
  int32_t feat_stride = 16, base_size = 16, min_size = 16;
  std::vector<float> ratio{0.5f, 1, 2}, scale{8, 16, 32};
  std::optional<int32_t> pre_nms_topn, post_nms_topn;
  float nms_thresh = 0.7f;

  static auto fields() {
    using P = ProposalParams;
    return Fields("proposal_param", Field("feat_stride", &P::feat_stride, kStrideHelp),
                  Field("base_size", &P::base_size, kBaseHelp),
                  Field("min_size", &P::min_size,
                        "shortest side of a proposal, in pixels of the image before it was scaled"),
                  Field("ratio", &P::ratio, kRatioHelp), Field("scale", &P::scale, kScaleHelp),
                  Field("pre_nms_topn", &P::pre_nms_topn,
                        "proposals looked at, 0 for all; if absent 12000 in TRAIN, 6000 in TEST"),
                  Field("post_nms_topn", &P::post_nms_topn,
                        "proposals of an image, 0 for all; if absent 2000 in TRAIN, 300 in TEST"),
                  Field("nms_thresh", &P::nms_thresh,
                        "greatest intersection over union with a better proposal"));
  }
};

// bottoms: scores (N, 2 A, H, W), of which the last A are of objects, regression (N, 4 A, H, W),
//   im_info (N, 3): height, width and scale of each image
// tops: regions (R, 5): [batch item, x1, y1, x2, y2]; their scores (R, 1)
class Proposal final : public LayerOf<ProposalParams> {
 public:
  Arity bottoms() const override { return {3, 3}; }
  Arity tops() const override { return {1, 2}; }
  bool can_propagate(int) const override { return false; }
  bool backward_reads_bottom(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    check_anchor_params(params_of());
    anchors_ = make_anchors(params_of().base_size, params_of().ratio, params_of().scale);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &scores = *bottom[0], &deltas = *bottom[1];
    const auto count = static_cast<int64_t>(anchors_.size());
    check(scores.axes() == 4 && deltas.axes() == 4 && scores.shape(1) == 2 * count &&
              deltas.shape(1) == 4 * count && scores.shape(0) == deltas.shape(0) &&
              scores.count(2) == deltas.count(2),
          params_of().ratio.size(), " ratios and ", params_of().scale.size(), " scales make ",
          count, " anchors, which take scores (N, ", 2 * count, ", H, W) and regression (N, ",
          4 * count, ", H, W), got ", shape_text(scores.shape()), " and ",
          shape_text(deltas.shape()));
    check_image_info(*bottom[2], scores.shape(0));
    const int64_t images = scores.shape(0);
    const int64_t all = count * scores.count(2);
    const int64_t most = images * (PostNms() > 0 ? std::min(PostNms(), all) : all);
    top[0]->Reshape({most, 5});  // only Forward knows how many there are
    if (top.size() > 1) top[1]->Reshape({most, 1});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    std::vector<float> rois, scores;
    for (int64_t n = 0; n < bottom[0]->shape(0); ++n) Propose(bottom, n, &rois, &scores);
    const auto count = static_cast<int64_t>(scores.size());
    top[0]->Reshape({count, 5});
    std::copy(rois.begin(), rois.end(), top[0]->mutable_data());
    if (top.size() == 1) return;
    top[1]->Reshape({count, 1});
    std::copy(scores.begin(), scores.end(), top[1]->mutable_data());
  }

 private:
  int64_t PreNms() const {
    return params_of().pre_nms_topn.value_or(phase() == Phase::kTrain ? 12000 : 6000);
  }
  int64_t PostNms() const {
    return params_of().post_nms_topn.value_or(phase() == Phase::kTrain ? 2000 : 300);
  }

  // Adds the proposals of image n.
  void Propose(const Blobs& bottom, int64_t n, std::vector<float>* rois,
               std::vector<float>* scores) const {
    std::vector<float> candidates, score;  // boxes (..., 4), in the order of positions and anchors
    FindCandidates(bottom, n, &candidates, &score);
    const Boxes boxes(static_cast<int64_t>(score.size()), candidates.data());
    NmsOptions options;
    options.threshold = params_of().nms_thresh;
    options.top_k = PreNms() > 0 ? PreNms() : -1;
    options.most = PostNms() > 0 ? PostNms() : -1;
    options.pixels = true;
    for (const int32_t i : suppress(boxes, score, options)) {
      const Box box = boxes[i];
      rois->insert(rois->end(), {static_cast<float>(n), box.x1, box.y1, box.x2, box.y2});
      scores->push_back(score[i]);
    }
  }

  void FindCandidates(const Blobs& bottom, int64_t n, std::vector<float>* boxes,
                      std::vector<float>* scores) const {
    const auto anchors = static_cast<int64_t>(anchors_.size());
    const int64_t width = bottom[0]->shape(3), places = bottom[0]->count(2);
    const int64_t stride = params_of().feat_stride;
    const float* score = bottom[0]->data() + (2 * n + 1) * anchors * places;
    const float* delta = bottom[1]->data() + 4 * n * anchors * places;
    const ImageInfo info = read_image_info(*bottom[2], n);
    const float least = static_cast<float>(params_of().min_size) * info.scale;
    for (int64_t i = 0; i < places; ++i) {
      for (int64_t a = 0; a < anchors; ++a) {
        const PixelBox anchor = moved(anchors_[a], i % width * stride, i / width * stride);
        const float* d = delta + 4 * a * places + i;
        const PixelBox box =
            clipped(apply_deltas(anchor, {d[0], d[places], d[2 * places], d[3 * places]}),
                    info.width, info.height);
        if (!(box.width() >= least && box.height() >= least)) continue;  // nor if it is NaN
        boxes->insert(boxes->end(), {box.x1, box.y1, box.x2, box.y2});
        scores->push_back(score[a * places + i]);
      }
    }
  }

  std::vector<PixelBox> anchors_;
};

PYDL_REGISTER_LAYER("Proposal", Proposal,
                    "Regions of interest [batch item, x1, y1, x2, y2] from a region proposal "
                    "network: moved anchors, the best of those that overlap. A second top has "
                    "their scores. Their number changes from pass to pass.");

}  // namespace pydl
