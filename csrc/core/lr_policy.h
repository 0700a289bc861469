#pragma once

#include "pydl/solver.h"

namespace pydl {

// Caffe's learning-rate policies. `current_step` is the step that multistep is in, kept by the
// caller because Caffe's snapshots hold it. Throws pydl::Error for an unknown policy.
//
//   fixed      base_lr
//   step       base_lr gamma^floor(iter / stepsize)
//   exp        base_lr gamma^iter
//   inv        base_lr (1 + gamma iter)^-power
//   multistep  base_lr gamma^(stepvalues passed)
//   poly       base_lr (1 - iter / max_iter)^power
//   sigmoid    base_lr / (1 + exp(-gamma (iter - stepsize)))
float learning_rate(const SolverSpec& spec, int iter, int* current_step);

// Throws pydl::Error for an unknown policy or one that lacks a field it needs.
void check_lr_policy(const SolverSpec& spec);

}  // namespace pydl
