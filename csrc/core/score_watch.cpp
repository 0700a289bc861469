#include "core/score_watch.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"

namespace pydl {

namespace {

constexpr float kMinImprovement = 1e-4f;
constexpr int kPlateauPatience = 10;

bool better(const SolverSpec& spec, double score, double best) {
  const double least = std::abs(best) * spec.min_improvement.value_or(kMinImprovement);
  return spec.monitor_mode == MonitorMode::kMax ? score > best + least : score < best - least;
}

}  // namespace

void check_watch(const SolverSpec& spec) {
  check(spec.plateau_patience.value_or(1) > 0, "plateau_patience must be positive, got ",
        spec.plateau_patience.value_or(1));
  check(spec.early_stop_patience >= 0, "early_stop_patience must not be negative, got ",
        spec.early_stop_patience);
  check(spec.min_improvement.value_or(0) >= 0, "min_improvement must not be negative, got ",
        spec.min_improvement.value_or(0));
  const bool by_loss = !spec.plateau_winsize.empty();
  const bool watches = (spec.lr_policy == "plateau" && !by_loss) || spec.early_stop_patience > 0;
  check(watches || !spec.min_improvement,
        "min_improvement is for lr_policy plateau and early_stop_patience; neither is given");
}

bool watch_score(const SolverSpec& spec, double score, ScoreWatch* watch) {
  if (std::isfinite(score) && (!watch->best || better(spec, score, *watch->best))) {
    watch->best = score;
    watch->since_best = watch->since_drop = 0;
    return false;
  }
  ++watch->since_best;
  if (++watch->since_drop < spec.plateau_patience.value_or(kPlateauPatience)) return false;
  watch->since_drop = 0;
  return spec.lr_policy == "plateau" && spec.plateau_winsize.empty();
}

bool watch_loss(const SolverSpec& spec, double loss, int iter, int step, ScoreWatch* watch) {
  if (spec.lr_policy != "plateau" || spec.plateau_winsize.empty()) return false;
  std::vector<float>& losses = watch->losses;
  losses.push_back(static_cast<float>(loss));
  if (losses.size() > static_cast<size_t>(spec.average_loss)) losses.erase(losses.begin());
  if (iter < std::max(spec.rampup_interval, spec.warmup_iters)) return false;
  const double mean =
      std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
  if (!watch->least_loss || mean < *watch->least_loss) {
    watch->least_loss = mean;
    watch->last_event = iter;
  }
  if (step >= static_cast<int>(spec.plateau_winsize.size())) return false;
  if (iter < watch->last_event + spec.plateau_winsize[step]) return false;
  watch->last_event = iter;
  return true;
}

}  // namespace pydl
