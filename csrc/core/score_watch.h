// Whether a run still gets better: for lr_policy "plateau" and early stopping.
#pragma once

#include "pydl/solver.h"

namespace pydl {

// Throws pydl::Error for values out of range and fields that nothing uses.
void check_watch(const SolverSpec& spec);

// Counts a score. True if the rate is to be lowered: plateau_patience scores in a row, since the
// best or the last such time, were no better.
bool watch_score(const SolverSpec& spec, double score, ScoreWatch* watch);

// With plateau_winsize: looks at an iteration's training loss, as SSD's solver does. True if the
// rate is to be lowered for the step-th time: the mean of the last average_loss losses was not the
// least for plateau_winsize[step] iterations, nor was the rate lowered.
bool watch_loss(const SolverSpec& spec, double loss, int iter, int step, ScoreWatch* watch);

}  // namespace pydl
