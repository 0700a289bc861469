// Normalisation of groups of channels, each image by its own statistics: GroupNorm (Wu & He 2018,
// arXiv:1803.08494) and, with a channel to a group, InstanceNorm (Ulyanov et al. 2016,
// arXiv:1607.08022).
//
//   xhat = (x - mean) rstd                    rstd: 1 / sqrt(variance + eps), biased
//   y = gamma xhat + beta
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

// x: (n, channels, inner), or channels-last (n, inner, channels); groups divide the channels.
struct GroupNormShape {
  int64_t n, groups, channels, inner;
  bool channels_last;
};

struct GroupNormKernels {
  // mean, rstd: (n, groups), for the gradient. gamma, beta: (channels); null: 1 and 0. y may be x.
  void (*forward)(const GroupNormShape&, float eps, ConstArray x, const float* gamma,
                  const float* beta, float* mean, float* rstd, Array y);
  // dgamma += the sum of dy xhat per channel, dbeta += that of dy; dx = (or, with `add`, +=)
  // rstd (g - mean(g) - xhat mean(g xhat)), g = gamma dy. Each of the three may be null. dx may be
  // dy. Sums do not depend on the number of threads.
  void (*backward)(const GroupNormShape&, ConstArray x, const float* gamma, const float* mean,
                   const float* rstd, ConstArray dy, bool add, float* dgamma, float* dbeta,
                   Array dx);
};

const GroupNormKernels& group_norm_kernels();

}  // namespace pydl::kernels
