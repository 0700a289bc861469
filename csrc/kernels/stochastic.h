// Stochastic units: draws, and the divergence of Gaussian ones from the standard normal.
//
// Draw i is a function of (seed, stream, i) alone (Philox, core/random.h: word i of the stream), so
// that a backward pass finds forward's again and nothing depends on the number of threads:
//   u_i = (word >> 8) 2^-24, uniform in [0, 1)
//   g_i = the standard normal's quantile at ((word >> 9) + 1/2) 2^-23, between -5.4 and 5.4
// y may be x.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct StochasticKernels {
  void (*uniform)(int64_t n, uint64_t seed, uint64_t stream, float* y);  // u
  // y = u < x ? 1 : 0, for probabilities x
  void (*bernoulli)(int64_t n, const float* x, uint64_t seed, uint64_t stream, float* y);
  // p = 1 / (1 + exp(-x)), y = u < p ? 1 : 0; p may be x
  void (*sigmoid_bernoulli)(int64_t n, const float* x, uint64_t seed, uint64_t stream, float* p,
                            float* y);
  // y = x + deviation g
  void (*add_gaussian)(int64_t n, const float* x, float deviation, uint64_t seed, uint64_t stream,
                       float* y);
  // y = u < ratio / 2 ? low : u < ratio ? high : x
  void (*corrupt)(int64_t n, const float* x, float ratio, float low, float high, uint64_t seed,
                  uint64_t stream, float* y);
  // y = mean + exp(log_variance / 2) g (Kingma & Welling 2014, arXiv:1312.6114), and its slope
  // dy/dlog_variance = exp(log_variance / 2) g / 2
  void (*gaussian_sample)(int64_t n, const float* mean, const float* log_variance, uint64_t seed,
                          uint64_t stream, float* slope, float* y);
  // The sum of (mean^2 + exp(log_variance) - 1 - log_variance) / 2, in an order that does not
  // depend on the number of threads.
  double (*gaussian_kl)(int64_t n, const float* mean, const float* log_variance);
  // dlog_variance = scale (exp(log_variance) - 1) / 2
  void (*gaussian_kl_backward)(int64_t n, const float* log_variance, float scale,
                               float* dlog_variance);
};

const StochasticKernels& stochastic_kernels();

}  // namespace pydl::kernels
