// Normalisation of rows, each by its own statistics: LayerNorm (Ba et al. 2016, arXiv:1607.06450)
// and, not centred, RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467).
//
//   xhat = (x - mean) rstd    mean: 0 unless centred
//   y = gamma xhat + beta     rstd: 1 / sqrt(mean of (x - mean)^2 + eps)
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct RowNormShape {
  int64_t rows, n;
  bool centered;
};

struct RowNormKernels {
  // mean (null unless centred) and rstd: (rows), for the gradient. gamma, beta: (n); null: 1 and 0.
  // y may be x.
  void (*forward)(const RowNormShape&, float eps, ConstArray x, const float* gamma,
                  const float* beta, float* mean, float* rstd, Array y);
  // dgamma += sum over rows of dy xhat, dbeta += that of dy; dx = (or, with `add`, +=)
  // rstd (g - mean(g) - xhat mean(g xhat)), g = gamma dy, without mean(g) unless centred. Each of
  // the three may be null. dx may be dy. Sums do not depend on the number of threads.
  void (*backward)(const RowNormShape&, ConstArray x, const float* gamma, const float* mean,
                   const float* rstd, ConstArray dy, bool add, float* dgamma, float* dbeta,
                   Array dx);
};

const RowNormKernels& row_norm_kernels();

}  // namespace pydl::kernels
