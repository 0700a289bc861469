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
      : count_(predictions.size()), pairs_(truth.size()) {
    found_.truth.assign(count_, Matches::kNone);
    found_.overlap.assign(count_, 0);
    for (int64_t i = 0; options.leave_out_cross && i < count_; ++i) {
      if (reaches_out(predictions[i])) found_.truth[i] = Matches::kLeftOut;
    }
    std::vector<float> row(count_);
    std::vector<int32_t> touched(count_);
    for (size_t g = 0; g < pairs_.size(); ++g) {
      predictions.Overlaps(truth[g], row.data());
      const int64_t touching =
          kernels::box_kernels().above(count_, row.data(), kLeastOverlap, touched.data());
      for (int64_t k = 0; k < touching; ++k) {
        const int32_t i = touched[k];
        if (found_.truth[i] == Matches::kNone) pairs_[g].push_back({i, row[i]});
      }
    }
  }

  Matches Run(const MatchOptions& options) {
    std::vector<int32_t> nearest(count_, Matches::kNone);
    for (size_t g = 0; g < pairs_.size(); ++g) {
      for (const Pair& pair : pairs_[g]) {
        if (pair.overlap <= found_.overlap[pair.prediction]) continue;
        found_.overlap[pair.prediction] = pair.overlap;
        nearest[pair.prediction] = static_cast<int32_t>(g);
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
  struct Pair {
    int32_t prediction;
    float overlap;
  };

  // Of those without a match, the first one that overlaps box g most; null: none.
  const Pair* Best(size_t g) const {
    const Pair* best = nullptr;
    for (const Pair& pair : pairs_[g]) {
      const bool is_free = found_.truth[pair.prediction] == Matches::kNone;
      if (is_free && (best == nullptr || pair.overlap > best->overlap)) best = &pair;
    }
    return best;
  }

  void MatchEachBox() {
    std::vector<const Pair*> best(pairs_.size());
    for (size_t g = 0; g < pairs_.size(); ++g) best[g] = Best(g);
    while (true) {
      // Of equal overlaps the one with the first prediction, then the first box.
      size_t next = pairs_.size();
      for (size_t g = 0; g < pairs_.size(); ++g) {
        if (best[g] == nullptr) continue;
        if (next == pairs_.size() || IsBefore(*best[g], *best[next])) next = g;
      }
      if (next == pairs_.size()) return;
      const Pair taken = *best[next];
      found_.truth[taken.prediction] = static_cast<int32_t>(next);
      found_.overlap[taken.prediction] = taken.overlap;
      best[next] = nullptr;
      for (size_t g = 0; g < pairs_.size(); ++g) {
        if (best[g] && best[g]->prediction == taken.prediction) best[g] = Best(g);
      }
    }
  }

  static bool IsBefore(const Pair& a, const Pair& b) {
    return a.overlap > b.overlap || (a.overlap == b.overlap && a.prediction < b.prediction);
  }

  int64_t count_;
  std::vector<std::vector<Pair>> pairs_;  // of each box, with the predictions that it touches
  Matches found_;
};

}  // namespace

Matches match_boxes(const Boxes& predictions, std::span<const Box> truth,
                    const MatchOptions& options) {
  return Matcher(predictions, truth, options).Run(options);
}

}  // namespace pydl
