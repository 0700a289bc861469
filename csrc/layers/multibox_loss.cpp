// MultiBoxLoss: what a detector's predictions relative to priors cost (Liu et al. 2016, "SSD",
// arXiv:1512.02325; Shrivastava et al. 2016, arXiv:1604.03540, for HARD_EXAMPLE).
//
// Priors are matched to the boxes of the ground truth; those matched are told where their box is
// and of which class, and some of the others that they are background. As in SSD's fork of Caffe
// an image without ground truth has no part in the loss, unless mining_type is NONE. Its gradient
// for encode_variance_in_target lacks 1 / variance; this one is the loss's own. For LOGISTIC
// without mining it puts the targets of all images but the first in wrong places; here each has its
// own.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "core/check.h"
#include "kernels/activation.h"
#include "kernels/loss.h"
#include "kernels/softmax.h"
#include "layers/box_matching.h"
#include "layers/ground_truth.h"
#include "layers/loss_params.h"
#include "layers/prior_blob.h"

namespace pydl {

enum class LocationLoss { kL2 = 0, kSmoothL1 = 1 };
constexpr std::array<EnumName, 2> enum_names(LocationLoss) {
  return {{{"L2", 0}, {"SMOOTH_L1", 1}}};
}
enum class ClassLoss { kSoftmax = 0, kLogistic = 1 };
constexpr std::array<EnumName, 2> enum_names(ClassLoss) {
  return {{{"SOFTMAX", 0}, {"LOGISTIC", 1}}};
}
enum class MatchType { kBipartite = 0, kPerPrediction = 1 };
constexpr std::array<EnumName, 2> enum_names(MatchType) {
  return {{{"BIPARTITE", 0}, {"PER_PREDICTION", 1}}};
}
enum class MiningType { kNone = 0, kMaxNegative = 1, kHardExample = 2 };
constexpr std::array<EnumName, 3> enum_names(MiningType) {
  return {{{"NONE", 0}, {"MAX_NEGATIVE", 1}, {"HARD_EXAMPLE", 2}}};
}

struct MultiBoxLossParams {
  LocationLoss loc_loss_type = LocationLoss::kSmoothL1;
  ClassLoss conf_loss_type = ClassLoss::kSoftmax;
  MatchType match_type = MatchType::kPerPrediction;
  std::optional<MiningType> mining_type;
  std::optional<bool> do_neg_mining;
  BoxCode code_type = BoxCode::kCorner;
  float loc_weight = 1, overlap_threshold = 0.5f, neg_pos_ratio = 3, neg_overlap = 0.5f;
  uint32_t num_classes = 0;
  int32_t background_label_id = 0, sample_size = 64;
  bool share_location = true, use_prior_for_matching = true, use_difficult_gt = true;
  bool encode_variance_in_target = false, map_object_to_agnostic = false;
  bool ignore_cross_boundary_bbox = false, bp_inside = false, use_prior_for_nms = false;
  std::optional<NmsParams> nms_param;

  static auto fields() {
    using P = MultiBoxLossParams;
    return Fields(
        "multibox_loss_param",
        Field("loc_loss_type", &P::loc_loss_type, "SMOOTH_L1 or L2, of locations"),
        Field("conf_loss_type", &P::conf_loss_type, "SOFTMAX or LOGISTIC, of classes"),
        Field("loc_weight", &P::loc_weight, "factor on the loss of locations"),
        Field("num_classes", &P::num_classes, "with the background's; required"),
        Field("share_location", &P::share_location, "one box per prior for all classes"),
        Field("match_type", &P::match_type, "PER_PREDICTION: several priors for a box; BIPARTITE"),
        Field("overlap_threshold", &P::overlap_threshold, "least overlap of further priors"),
        Field("use_prior_for_matching", &P::use_prior_for_matching,
              "match the priors, not the boxes that are predicted"),
        Field("background_label_id", &P::background_label_id, "class of no object"),
        Field("use_difficult_gt", &P::use_difficult_gt, "difficult boxes count as well"),
        Field("do_neg_mining", &P::do_neg_mining, "old form of mining_type: false is NONE"),
        Field("neg_pos_ratio", &P::neg_pos_ratio, "MAX_NEGATIVE: most negatives for a positive"),
        Field("neg_overlap", &P::neg_overlap, "a negative overlaps by less"),
        Field("code_type", &P::code_type, "how boxes are told relative to priors"),
        Field("encode_variance_in_target", &P::encode_variance_in_target,
              "variances divide the error in place of the target"),
        Field("map_object_to_agnostic", &P::map_object_to_agnostic, "all objects are of one class"),
        Field("ignore_cross_boundary_bbox", &P::ignore_cross_boundary_bbox,
              "priors that reach out of the image take no part"),
        Field("bp_inside", &P::bp_inside, "corners outside of the image cost nothing"),
        Field("mining_type", &P::mining_type,
              "MAX_NEGATIVE: the worst negatives; HARD_EXAMPLE: the worst of all; NONE: all"),
        Field("nms_param", &P::nms_param, "mining picks among boxes that overlap less"),
        Field("sample_size", &P::sample_size, "HARD_EXAMPLE: most examples of an image"),
        Field("use_prior_for_nms", &P::use_prior_for_nms, "nms_param looks at priors"));
  }

  MiningType mining() const {
    return mining_type.value_or(do_neg_mining.value_or(true) ? MiningType::kMaxNegative
                                                             : MiningType::kNone);
  }
};

// bottoms: locations (N, P L 4), L = 1 where they are shared, else the number of classes C; scores
// (N, P C); priors (1, 2, P 4); ground truth (1, 1, G, 8)
// top: the loss, a scalar
class MultiBoxLoss final : public LayerOf<MultiBoxLossParams, LossParams> {
 public:
  Arity bottoms() const override { return {4, 4}; }
  bool is_loss() const override { return true; }
  bool can_propagate(int bottom) const override { return bottom < 2; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }

  void SetUp(const Blobs&, const Blobs&) override {
    const MultiBoxLossParams& p = params_of();
    const int64_t classes = p.num_classes, background = p.background_label_id;
    check(classes > 0, "multibox_loss_param.num_classes must be given and positive");
    check(p.conf_loss_type == ClassLoss::kLogistic || (background >= 0 && background < classes),
          "background_label_id ", background, " must be one of the ", classes,
          " classes for a SOFTMAX; without one use conf_loss_type LOGISTIC");
    check(!p.map_object_to_agnostic || classes == (background >= 0 ? 2 : 1),
          "map_object_to_agnostic: there must be one class besides the background, but num_classes "
          "is ",
          classes);
    check(!p.do_neg_mining || *p.do_neg_mining == (p.mining() != MiningType::kNone),
          "do_neg_mining contradicts mining_type; leave do_neg_mining out");
    const bool mines = p.mining() != MiningType::kNone;
    check(!mines || p.share_location,
          "mining needs share_location true; with false use mining_type NONE");
    check(!mines || p.neg_pos_ratio > 0, "neg_pos_ratio must be positive, got ", p.neg_pos_ratio);
    check(p.mining() != MiningType::kHardExample || p.sample_size > 0,
          "sample_size must be positive, got ", p.sample_size);
    if (p.nms_param) nms_options(*p.nms_param);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const MultiBoxLossParams& p = params_of();
    images_ = bottom[0]->axes() > 0 ? bottom[0]->shape(0) : 0;
    classes_ = p.num_classes;
    location_classes_ = p.share_location ? 1 : classes_;
    priors_ = check_predictions(*bottom[0], *bottom[1], *bottom[2], location_classes_, classes_);
    check_ground_truth_shape(*bottom[3]);
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const MultiBoxLossParams& p = params_of();
    const GroundTruth truth =
        read_ground_truth(*bottom[3], images_, p.background_label_id, p.use_difficult_gt);
    const PriorBoxes priors = read_priors(*bottom[2]);
    positives_.clear();
    negatives_.clear();
    for (const auto& [image, boxes] : truth) {
      AddExamples(image, boxes, priors, bottom[0]->data(), bottom[1]->data());
    }
    const auto matched = static_cast<int64_t>(positives_.size());
    normalizer_ =
        normalizer(params_of<LossParams>().mode(Normalization::kValid), images_, priors_, matched);
    double loss = 0;
    if (Counts(0)) loss += p.loc_weight * LocationCost(bottom[0]->data(), priors) / normalizer_;
    if (Counts(1)) loss += ClassCost(bottom[1]->data()) / normalizer_;
    top[0]->mutable_data()[0] = static_cast<float>(loss);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const double scale = top[0]->diff()[0] / normalizer_;
    if (down[0] != Propagate::kNo) {
      LocationGradient(static_cast<float>(scale * params_of().loc_weight), bottom[0]);
    }
    if (down[1] != Propagate::kNo) ClassGradient(static_cast<float>(scale), bottom[1]);
  }

 private:
  struct Positive {
    int64_t image, prior, location_class;  // 0 where locations are shared
    int64_t label;
    Box box;
  };
  struct Negative {
    int64_t image, prior;
  };

  // As in Caffe, a bottom whose propagate_down is false costs nothing.
  bool Counts(size_t bottom) const {
    return bottom >= spec_.propagate_down.size() || spec_.propagate_down[bottom];
  }

  int64_t LabelOf(const TruthBox& box) const {
    if (params_of().map_object_to_agnostic) return params_of().background_label_id + 1;
    check(box.label >= 0 && box.label < classes_, "the ground truth has an object of class ",
          box.label, "; num_classes is ", classes_);
    return box.label;
  }

  Boxes Predicted(const PriorBoxes& priors, const float* locations, int64_t location_class) const {
    const MultiBoxLossParams& p = params_of();
    return priors.boxes.Decode(locations + location_class * 4, location_classes_ * 4,
                               p.encode_variance_in_target ? nullptr : &priors.variances,
                               p.code_type);
  }

  // locations, scores: of all images
  void AddExamples(int64_t image, const std::vector<TruthBox>& truth, const PriorBoxes& priors,
                   const float* locations, const float* scores) {
    const MultiBoxLossParams& p = params_of();
    const MatchOptions options{p.match_type == MatchType::kPerPrediction, p.overlap_threshold,
                               p.ignore_cross_boundary_bbox};
    const float* own = locations + image * priors_ * location_classes_ * 4;
    std::vector<Box> boxes;
    std::vector<int64_t> labels;
    for (const TruthBox& t : truth) {
      boxes.push_back(t.box);
      labels.push_back(LabelOf(t));
    }
    const auto add = [&](const Matches& matches, int64_t location_class) {
      for (int64_t i = 0; i < priors_; ++i) {
        const int32_t t = matches.truth[i];
        if (t < 0 || (!p.share_location && truth[t].label != location_class)) continue;
        positives_.push_back({image, i, location_class, labels[t], boxes[t]});
      }
    };
    if (p.share_location) {
      Matches matches = match_boxes(
          p.use_prior_for_matching ? priors.boxes : Predicted(priors, own, 0), boxes, options);
      if (p.mining() != MiningType::kNone) {
        Mine(image, boxes, labels, priors, own, scores + image * priors_ * classes_, &matches);
      }
      add(matches, 0);
    } else if (p.use_prior_for_matching) {
      const Matches matches = match_boxes(priors.boxes, boxes, options);
      for (int64_t c = 0; c < classes_; ++c) add(matches, c);
    } else {
      for (int64_t c = 0; c < classes_; ++c) AddOfClass(image, c, truth, priors, own, options);
    }
  }

  // The boxes predicted for a class, matched to the truth of that class.
  void AddOfClass(int64_t image, int64_t c, const std::vector<TruthBox>& truth,
                  const PriorBoxes& priors, const float* locations, const MatchOptions& options) {
    std::vector<Box> boxes;
    for (const TruthBox& t : truth) {
      if (t.label == c) boxes.push_back(t.box);
    }
    if (boxes.empty()) return;
    const Matches matches = match_boxes(Predicted(priors, locations, c), boxes, options);
    const int64_t label =
        params_of().map_object_to_agnostic ? params_of().background_label_id + 1 : c;
    for (int64_t i = 0; i < priors_; ++i) {
      const int32_t t = matches.truth[i];
      if (t >= 0) positives_.push_back({image, i, c, label, boxes[t]});
    }
  }

  // ---- mining ----

  // Adds negatives; for HARD_EXAMPLE, takes away the matches that are not picked.
  void Mine(int64_t image, const std::vector<Box>& boxes, const std::vector<int64_t>& labels,
            const PriorBoxes& priors, const float* locations, const float* scores,
            Matches* matches) {
    const MultiBoxLossParams& p = params_of();
    const bool hard = p.mining() == MiningType::kHardExample;
    std::vector<float> cost = ClassCosts(scores, labels, *matches);
    std::vector<int32_t> eligible;
    int64_t matched = 0;
    for (int64_t i = 0; i < priors_; ++i) {
      const int32_t t = matches->truth[i];
      matched += t >= 0;
      if (hard && t >= 0) cost[i] += LocationCostOf(i, boxes[t], priors, locations);
      const bool is_negative = t == Matches::kNone && matches->overlap[i] < p.neg_overlap;
      if (hard || is_negative) eligible.push_back(static_cast<int32_t>(i));
    }
    const auto ratio = static_cast<int64_t>(static_cast<float>(matched) * p.neg_pos_ratio);
    std::vector<bool> picked(priors_, false);
    for (int32_t i : Costliest(cost, eligible, hard ? p.sample_size : ratio, priors, locations)) {
      picked[i] = true;
    }
    for (int64_t i = 0; i < priors_; ++i) {
      int32_t& t = matches->truth[i];
      if (t == Matches::kNone && picked[i]) negatives_.push_back({image, i});
      if (t >= 0 && hard && !picked[i]) t = Matches::kNone;
    }
  }

  // At most `most` of the eligible priors.
  std::vector<int32_t> Costliest(const std::vector<float>& cost, std::vector<int32_t> eligible,
                                 int64_t most, const PriorBoxes& priors,
                                 const float* locations) const {
    const auto& nms = params_of().nms_param;
    const auto is_worse = [&](int32_t a, int32_t b) {
      return cost[a] > cost[b] || (cost[a] == cost[b] && a < b);
    };
    const auto cut = [&](int64_t count) {
      if (count < 0 || count >= static_cast<int64_t>(eligible.size())) return;
      std::nth_element(eligible.begin(), eligible.begin() + count, eligible.end(), is_worse);
      eligible.resize(count);
    };
    if (!nms || nms->nms_threshold <= 0) {
      cut(most);
      return eligible;
    }
    NmsOptions options = nms_options(*nms);
    cut(options.top_k);  // as in SSD it counts boxes without area too, which are dropped then
    std::sort(eligible.begin(), eligible.end());
    const Boxes boxes =
        params_of().use_prior_for_nms ? priors.boxes : Predicted(priors, locations, 0);
    constexpr float kLeastArea = 1e-5f;
    std::erase_if(eligible, [&](int32_t i) { return area(boxes[i]) < kLeastArea; });
    std::vector<float> own;
    for (int32_t i : eligible) own.push_back(cost[i]);
    options.eta = 1;
    options.least_score = -FLT_MAX;
    options.top_k = -1;
    options.most = most;
    return suppress(boxes, eligible, own, options);
  }

  // What the class of each prior of an image costs, be it the background. scores: (P, C)
  std::vector<float> ClassCosts(const float* scores, const std::vector<int64_t>& labels,
                                const Matches& matches) {
    const MultiBoxLossParams& p = params_of();
    const bool is_softmax = p.conf_loss_type == ClassLoss::kSoftmax;
    costs_.resize(priors_ * classes_);
    if (is_softmax) {
      kernels::softmax_kernels().forward({priors_, classes_, 1}, scores, costs_.data());
    } else {
      kernels::activation_kernels().bnll_forward(priors_ * classes_, scores, costs_.data());
    }
    std::vector<float> out(priors_);
    for (int64_t i = 0; i < priors_; ++i) {
      const int32_t t = matches.truth[i];
      const int64_t label = t >= 0 ? labels[t] : p.background_label_id;
      const float* row = costs_.data() + i * classes_;
      if (is_softmax) {
        out[i] = std::max(row[label], FLT_MIN);
      } else {
        out[i] = std::accumulate(row, row + classes_, 0.0f);
        if (label >= 0 && label < classes_) out[i] -= scores[i * classes_ + label];
      }
    }
    if (is_softmax) {
      kernels::activation_kernels().log_forward(priors_, out.data(), 1, 0, -1, out.data());
    }
    for (float& cost : out) cost = std::isnan(cost) ? FLT_MAX : cost;  // to be seen in the loss
    return out;
  }

  // ---- locations ----

  // The errors of a prior's four numbers: predictions and targets, and what a prediction's gradient
  // has as a factor. locations: of its image and class.
  void Targets(int64_t prior, const Box& box, const PriorBoxes& priors, const float* prediction,
               float* predicted, float* target, float* factor) const {
    const MultiBoxLossParams& p = params_of();
    const Box v = priors.variances[prior];
    const Variances variances{v.x1, v.y1, v.x2, v.y2};
    const auto code = encode_box(box, priors.boxes[prior], variances, p.code_type);
    const std::array<bool, 4> inside = Inside(prior, priors, prediction);
    for (int k = 0; k < 4; ++k) {
      const float divisor = p.encode_variance_in_target ? variances[k] : 1;
      target[k] = code[k];
      predicted[k] = inside[k] ? prediction[k] / divisor : code[k];
      factor[k] = inside[k] ? 1 / divisor : 0;
    }
  }

  // Which sides of the box that was matched lie in the image, for bp_inside.
  std::array<bool, 4> Inside(int64_t prior, const PriorBoxes& priors,
                             const float* prediction) const {
    const MultiBoxLossParams& p = params_of();
    if (!p.bp_inside) return {true, true, true, true};
    Box box = priors.boxes[prior];
    if (!p.use_prior_for_matching) {
      const std::array<int32_t, 1> one{static_cast<int32_t>(prior)};
      const Boxes variance = priors.variances.Pick(one);
      box = priors.boxes.Pick(one).Decode(
          prediction, 4, p.encode_variance_in_target ? nullptr : &variance, p.code_type)[0];
    }
    const auto is_in = [](float x) { return !(x < 0 || x > 1); };
    return {is_in(box.x1), is_in(box.y1), is_in(box.x2), is_in(box.y2)};
  }

  double LocationCost(int64_t n, const float* predicted, const float* target) const {
    if (params_of().loc_loss_type == LocationLoss::kSmoothL1) {
      return kernels::loss_kernels().smooth_l1(n, predicted, target, nullptr, nullptr, 1);
    }
    double sum = 0;
    kernels::loss_kernels().squared_distances(1, n, predicted, target, &sum);
    return sum / 2;
  }

  // locations: of its image, which are shared
  float LocationCostOf(int64_t prior, const Box& box, const PriorBoxes& priors,
                       const float* locations) const {
    float predicted[4], target[4], factor[4];
    Targets(prior, box, priors, locations + prior * 4, predicted, target, factor);
    return static_cast<float>(LocationCost(4, predicted, target));
  }

  // Where the first of a positive's four numbers is among the locations.
  int64_t LocationAt(const Positive& p) const {
    return ((p.image * priors_ + p.prior) * location_classes_ + p.location_class) * 4;
  }

  double LocationCost(const float* locations, const PriorBoxes& priors) {
    const size_t count = positives_.size() * 4;
    for (auto* values : {&predicted_, &target_, &factor_}) values->resize(count);
    for (size_t i = 0; i < positives_.size(); ++i) {
      const Positive& p = positives_[i];
      Targets(p.prior, p.box, priors, locations + LocationAt(p), &predicted_[4 * i],
              &target_[4 * i], &factor_[4 * i]);
    }
    return LocationCost(static_cast<int64_t>(count), predicted_.data(), target_.data());
  }

  void LocationGradient(float scale, Blob* locations) const {
    const auto count = static_cast<int64_t>(positives_.size() * 4);
    std::vector<float> gradient(count);
    if (params_of().loc_loss_type == LocationLoss::kSmoothL1) {
      kernels::loss_kernels().smooth_l1_backward(count, predicted_.data(), target_.data(), nullptr,
                                                 nullptr, 1, scale, gradient.data());
    } else {
      kernels::loss_kernels().scaled_differences(1, count, &scale, predicted_.data(),
                                                 target_.data(), gradient.data());
    }
    float* diff = locations->mutable_diff();
    std::fill(diff, diff + locations->count(), 0.0f);
    for (size_t i = 0; i < positives_.size(); ++i) {
      float* to = diff + LocationAt(positives_[i]);
      for (int k = 0; k < 4; ++k) to[k] += gradient[4 * i + k] * factor_[4 * i + k];
    }
  }

  // ---- classes ----

  bool IsMined() const { return params_of().mining() != MiningType::kNone; }
  bool IsSoftmax() const { return params_of().conf_loss_type == ClassLoss::kSoftmax; }

  // scores: (N P, C). Without mining all rows count, else the positives' and the negatives'.
  double ClassCost(const float* scores) {
    const int64_t background = params_of().background_label_id;
    rows_.clear();
    for (const Positive& p : positives_) rows_.push_back(p.image * priors_ + p.prior);
    for (const Negative& n : negatives_) rows_.push_back(n.image * priors_ + n.prior);
    const int64_t count = IsMined() ? static_cast<int64_t>(rows_.size()) : images_ * priors_;
    // Labels, or for LOGISTIC a target for each class. Without mining the others' targets are all
    // 0 there, also the background's, as in SSD.
    labels_.assign(IsSoftmax() ? count : count * classes_,
                   IsSoftmax() ? static_cast<float>(background) : 0.0f);
    const auto set = [&](int64_t row, int64_t label) {
      if (IsSoftmax()) {
        labels_[row] = static_cast<float>(label);
      } else if (label >= 0 && label < classes_) {
        labels_[row * classes_ + label] = 1;
      }
    };
    for (size_t i = 0; i < rows_.size(); ++i) {
      const int64_t label = i < positives_.size() ? positives_[i].label : background;
      set(IsMined() ? static_cast<int64_t>(i) : rows_[i], label);
    }
    if (IsMined()) {
      picked_.resize(count * classes_);
      for (int64_t i = 0; i < count; ++i) {
        std::copy_n(scores + rows_[i] * classes_, classes_, &picked_[i * classes_]);
      }
    }
    return CostOfRows(count, IsMined() ? picked_.data() : scores);
  }

  double CostOfRows(int64_t count, const float* scores) {
    int64_t valid = 0;
    if (!IsSoftmax()) {
      return kernels::loss_kernels().sigmoid(count * classes_, scores, labels_.data(), false, 0,
                                             &valid);
    }
    probabilities_.resize(count * classes_);
    const kernels::SoftmaxShape shape{count, classes_, 1};
    kernels::softmax_kernels().forward(shape, scores, probabilities_.data());
    return kernels::softmax_kernels().loss(shape, probabilities_.data(), labels_.data(), false, 0,
                                           FLT_MIN, &valid);
  }

  void ClassGradient(float scale, Blob* scores) const {
    const int64_t count = static_cast<int64_t>(labels_.size()) / (IsSoftmax() ? 1 : classes_);
    if (!IsMined()) return GradientOfRows(count, scale, scores->data(), scores->mutable_diff());
    std::vector<float> gradient(count * classes_);
    GradientOfRows(count, scale, picked_.data(), gradient.data());
    float* diff = scores->mutable_diff();
    std::fill(diff, diff + scores->count(), 0.0f);
    for (int64_t i = 0; i < count; ++i) {
      float* to = diff + rows_[i] * classes_;
      for (int64_t c = 0; c < classes_; ++c) to[c] += gradient[i * classes_ + c];
    }
  }

  void GradientOfRows(int64_t count, float scale, const float* scores, float* gradient) const {
    if (IsSoftmax()) {
      kernels::softmax_kernels().loss_backward({count, classes_, 1}, probabilities_.data(),
                                               labels_.data(), false, 0, scale, gradient);
    } else {
      kernels::loss_kernels().sigmoid_backward(count * classes_, scores, labels_.data(), false, 0,
                                               scale, gradient);
    }
  }

  int64_t images_ = 0, priors_ = 0, classes_ = 0, location_classes_ = 1;
  double normalizer_ = 1;
  std::vector<Positive> positives_;
  std::vector<Negative> negatives_;
  std::vector<float> predicted_, target_, factor_;  // (positives, 4)
  std::vector<int64_t> rows_;                       // of the positives, then the negatives
  std::vector<float> labels_, picked_, probabilities_;
  std::vector<float> costs_;  // (P, C), of an image
};

PYDL_REGISTER_LAYER("MultiBoxLoss", MultiBoxLoss,
                    "The loss of a detector's boxes and classes, relative to priors that are "
                    "matched to the ground truth, with mining of hard examples.");

}  // namespace pydl
