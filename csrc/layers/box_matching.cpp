#include "layers/box_matching.h"

namespace pydl {

namespace {

constexpr float kLeastOverlap = 1e-6f;  // what is less counts as none

bool reaches_out(const Box& b) {
  const auto is_out = [](float x) { return x < 0 || x > 1; };
  return is_out(b.x1) || is_out(b.y1) || is_out(b.x2) || is_out(b.y2);
}

class Matcher {
 public:
  Matcher(const Boxes& predictions, std::span<const Box> truth, const MatchOptions& options)
      : count_(predictions.size()), boxes_(truth.size()), overlaps_(count_ * truth.size()) {
    found_.truth.assign(count_, Matches::kNone);
    found_.overlap.assign(count_, 0);
    for (int64_t i = 0; options.leave_out_cross && i < count_; ++i) {
      if (reaches_out(predictions[i])) found_.truth[i] = Matches::kLeftOut;
    }
    for (size_t g = 0; g < boxes_; ++g) {
      float* row = Row(g);
      predictions.Overlaps(truth[g], row);
      for (int64_t i = 0; i < count_; ++i) {
        const bool counts = row[i] > kLeastOverlap && found_.truth[i] == Matches::kNone;
        row[i] = counts ? row[i] : 0;
      }
    }
  }

  Matches Run(const MatchOptions& options) {
    std::vector<int32_t> nearest(count_, Matches::kNone);
    for (size_t g = 0; g < boxes_; ++g) {
      const float* row = Row(g);
      for (int64_t i = 0; i < count_; ++i) {
        if (row[i] > found_.overlap[i]) {
          found_.overlap[i] = row[i];
          nearest[i] = static_cast<int32_t>(g);
        }
      }
    }
    MatchEachBox();
    for (int64_t i = 0; options.per_prediction && i < count_; ++i) {
      const bool matches = found_.truth[i] == Matches::kNone && nearest[i] != Matches::kNone &&
                           found_.overlap[i] >= options.threshold;
      if (matches) found_.truth[i] = nearest[i];
    }
    return std::move(found_);
  }

 private:
  float* Row(size_t g) { return overlaps_.data() + g * count_; }

  // Of those without a match, the first one that overlaps box g most.
  int64_t Best(size_t g) {
    const float* row = Row(g);
    int64_t best = -1;
    for (int64_t i = 0; i < count_; ++i) {
      if (row[i] > (best < 0 ? 0 : row[best]) && found_.truth[i] == Matches::kNone) best = i;
    }
    return best;
  }

  void MatchEachBox() {
    std::vector<int64_t> best(boxes_);
    for (size_t g = 0; g < boxes_; ++g) best[g] = Best(g);
    std::vector<bool> done(boxes_, false);
    for (size_t round = 0; round < boxes_; ++round) {
      size_t next = boxes_;
      for (size_t g = 0; g < boxes_; ++g) {
        if (done[g] || best[g] < 0) continue;
        if (next == boxes_ || IsBefore(g, best[g], next, best[next])) next = g;
      }
      if (next == boxes_) return;
      const int64_t taken = best[next];
      found_.truth[taken] = static_cast<int32_t>(next);
      found_.overlap[taken] = Row(next)[taken];
      done[next] = true;
      for (size_t g = 0; g < boxes_; ++g) {
        if (!done[g] && best[g] == taken) best[g] = Best(g);
      }
    }
  }

  // Of equal overlaps the one with the first prediction, then the first box.
  bool IsBefore(size_t g, int64_t i, size_t other, int64_t j) {
    const float a = Row(g)[i], b = Row(other)[j];
    return a > b || (a == b && i < j);
  }

  int64_t count_;
  size_t boxes_;
  std::vector<float> overlaps_;  // (boxes of the truth, predictions)
  Matches found_;
};

}  // namespace

Matches match_boxes(const Boxes& predictions, std::span<const Box> truth,
                    const MatchOptions& options) {
  return Matcher(predictions, truth, options).Run(options);
}

}  // namespace pydl
