// Whether a run still gets better: for lr_policy "plateau" and early stopping.
#pragma once

#include "pydl/solver.h"

namespace pydl {

// Throws pydl::Error for values out of range and fields that nothing uses.
void check_watch(const SolverSpec& spec);

// Counts a score. True if the rate is to be lowered: plateau_patience scores in a row, since the
// best or the last such time, were no better.
bool watch_score(const SolverSpec& spec, double score, ScoreWatch* watch);

}  // namespace pydl
