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
//   poly       min_lr + (base_lr - min_lr) (1 - iter / max_iter)^power
//   sigmoid    base_lr / (1 + exp(-gamma (iter - stepsize)))
//   cosine     min_lr + (base_lr - min_lr) (1 + cos(pi iter / max_iter)) / 2
//   plateau    base_lr gamma^(times that nothing got better for plateau_patience scores), >= min_lr
//   multifixed stagelr of the first stage whose stageiter is not passed, or of the last one
//
// In the first warmup_iters iterations it is on the line from warmup_start_lr to what the policy
// says; in the first rampup_interval ones, on that from rampup_lr to base_lr.
float learning_rate(const SolverSpec& spec, int iter, int* current_step);

// Throws pydl::Error for an unknown policy, one that lacks a field it needs, and fields of pydl's
// own that nothing uses.
void check_lr_policy(const SolverSpec& spec);

// The momentum of an iteration whose rate is given, as NVIDIA's Caffe has it:
//
//   fixed  momentum
//   poly   momentum + (max_momentum - momentum) (iter / max_iter)^momentum_power
//   opt    (1 - sqrt(rate) / 2)^2, at most max_momentum
float momentum_at(const SolverSpec& spec, int iter, float rate);

// Whether rates depend on the norms of each parameter and its gradient, and that rate: rate times
// eta |weights| / |gradient|, or with larc_policy "clip" at most the rate; where a norm is 0, 1 in
// the place of that quotient.
bool adapts_rates(const SolverSpec& spec);
float adapted_rate(const SolverSpec& spec, float rate, double weights, double gradient);

}  // namespace pydl
