#pragma once

#include "pydl/solver.h"

namespace pydl {

// The rate of an iteration: Caffe's learning-rate policies, and two more. `current_step` is the
// step that multistep and plateau are in, kept by the caller because Caffe's snapshots hold it.
// Throws pydl::Error for an unknown policy.
//
//   fixed      base_lr
//   step       base_lr gamma^floor(iter / stepsize)
//   exp        base_lr gamma^iter
//   inv        base_lr (1 + gamma iter)^-power
//   multistep  base_lr gamma^(stepvalues passed)
//   poly       base_lr (1 - iter / max_iter)^power
//   sigmoid    base_lr / (1 + exp(-gamma (iter - stepsize)))
//   cosine     min_lr + (base_lr - min_lr) (1 + cos(pi iter / max_iter)) / 2
//   plateau    base_lr gamma^(times that nothing got better for plateau_patience scores), >= min_lr
//
// In the first warmup_iters iterations it is on the line from warmup_start_lr to what the policy
// says.
float learning_rate(const SolverSpec& spec, int iter, int* current_step);

// Throws pydl::Error for an unknown policy, one that lacks a field it needs, and fields of pydl's
// own that nothing uses.
void check_lr_policy(const SolverSpec& spec);

}  // namespace pydl
