#include "core/score_watch.h"

#include <cmath>

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
  const bool watches = spec.lr_policy == "plateau" || spec.early_stop_patience > 0;
  check(watches || !spec.min_improvement,
        "min_improvement is for lr_policy plateau and early_stop_patience; neither is given");
}

bool watch_score(const SolverSpec& spec, double score, ScoreWatch* watch) {
  if (std::isfinite(score) && (!watch->best || better(spec, score, *watch->best))) {
    *watch = {score, 0, 0};
    return false;
  }
  ++watch->since_best;
  if (++watch->since_drop < spec.plateau_patience.value_or(kPlateauPatience)) return false;
  watch->since_drop = 0;
  return spec.lr_policy == "plateau";
}

}  // namespace pydl
