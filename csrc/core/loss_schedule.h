#pragma once

#include "pydl/spec.h"

namespace pydl {

// What a layer's loss weights are multiplied by in iteration `iter`. With p the share that is done
// of `iterations`, counted after `delay` iterations and anew in each period:
//
//   linear  start + (end - start) p
//   poly    end + (start - end) (1 - p)^power
//   cosine  end + (start - end) (1 + cos(pi p)) / 2
//   step    start for p < 1, then end
//
// A period makes it cyclical, as Fu et al. 2019, arXiv:1903.10145, have it for the KL divergence.
float loss_factor(const LossWeightSchedule& schedule, int iter);

// Throws pydl::Error for an unknown policy, and for fields that are out of range or of no use to
// it.
void check_loss_schedule(const LossWeightSchedule& schedule);

}  // namespace pydl
