// Connectionist temporal classification (Graves et al. 2006): the probability that a row of
// classes, drawn one at each step, reads as a label sequence once repeats are merged and then
// blanks are dropped.
#pragma once

#include <cstdint>
#include <vector>

namespace pydl::kernels {

struct CtcSequence {
  int64_t steps;                // at most CtcShape::steps
  std::vector<int32_t> labels;  // in [0, classes), none of them blank
};

struct CtcShape {
  int64_t steps, batch, classes;
  int32_t blank;
};

// Fewer steps cannot hold the labels: one for each, and a blank between equal neighbours.
int64_t ctc_least_steps(const CtcSequence& sequence);

// cost[n] = -log P(labels of sequence n), 0 where they do not fit its steps.
// x: (steps, batch, classes), scores   p: the same shape, their softmax, which becomes the gradient
// of the sum of the costs by the scores if `gradient` is set; 0 where the labels do not fit, and
// behind the sequence's last step.
void ctc(const CtcShape& shape, const std::vector<CtcSequence>& sequences, const float* x,
         bool gradient, float* p, double* cost);

}  // namespace pydl::kernels
