// The definition of the stochastic units (stochastic.h): one element at a time, in double.
#include "kernels/stochastic.h"

#include <cmath>
#include <numbers>

#include "core/random.h"

namespace pydl::kernels::ref {

extern const StochasticKernels stochastic;

namespace {

uint32_t word(uint64_t seed, uint64_t stream, int64_t i) {
  return philox(seed, stream, static_cast<uint64_t>(i / 4))[static_cast<size_t>(i % 4)];
}

float uniform_draw(uint64_t seed, uint64_t stream, int64_t i) {
  return static_cast<float>(word(seed, stream, i) >> 8) * 0x1p-24f;
}

// y with erf(y) = x. Newton's method from 0 stays on one side, as erf bends away from its tangents.
double erf_inverse(double x) {
  const double slope = std::numbers::inv_sqrtpi * 2;
  double y = 0;
  for (int step = 0; step < 64; ++step) {
    const double miss = std::erf(y) - x;
    const double next = y - miss / (slope * std::exp(-y * y));
    if (std::fabs(next - y) <= 1e-12) return next;
    y = next;
  }
  return y;
}

double gaussian_draw(uint64_t seed, uint64_t stream, int64_t i) {
  const double quantile = ((word(seed, stream, i) >> 9) + 0.5) * 0x1p-23;
  return std::numbers::sqrt2 * erf_inverse(2 * quantile - 1);
}

void uniform(int64_t n, uint64_t seed, uint64_t stream, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = uniform_draw(seed, stream, i);
}

void bernoulli(int64_t n, const float* x, uint64_t seed, uint64_t stream, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = uniform_draw(seed, stream, i) < x[i] ? 1 : 0;
}

void sigmoid_bernoulli(int64_t n, const float* x, uint64_t seed, uint64_t stream, float* p,
                       float* y) {
  for (int64_t i = 0; i < n; ++i) {
    p[i] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x[i]))));
  }
  bernoulli(n, p, seed, stream, y);
}

void add_gaussian(int64_t n, const float* x, float deviation, uint64_t seed, uint64_t stream,
                  float* y) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(x[i] + deviation * gaussian_draw(seed, stream, i));
  }
}

void corrupt(int64_t n, const float* x, float ratio, float low, float high, uint64_t seed,
             uint64_t stream, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float u = uniform_draw(seed, stream, i);
    y[i] = u < ratio / 2 ? low : u < ratio ? high : x[i];
  }
}

double deviation_of(float log_variance) { return std::exp(static_cast<double>(log_variance) / 2); }

void gaussian_sample(int64_t n, const float* mean, const float* log_variance, uint64_t seed,
                     uint64_t stream, float* slope, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double noise = deviation_of(log_variance[i]) * gaussian_draw(seed, stream, i);
    slope[i] = static_cast<float>(noise / 2);
    y[i] = static_cast<float>(mean[i] + noise);
  }
}

double gaussian_kl(int64_t n, const float* mean, const float* log_variance) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double m = mean[i], v = log_variance[i];
    total += (m * m + std::expm1(v) - v) / 2;
  }
  return total;
}

void gaussian_kl_backward(int64_t n, const float* log_variance, float scale, float* dlog_variance) {
  for (int64_t i = 0; i < n; ++i) {
    dlog_variance[i] =
        static_cast<float>(scale * std::expm1(static_cast<double>(log_variance[i])) / 2);
  }
}

}  // namespace

const StochasticKernels stochastic = {
    uniform, bernoulli,       sigmoid_bernoulli, add_gaussian,
    corrupt, gaussian_sample, gaussian_kl,       gaussian_kl_backward};

}  // namespace pydl::kernels::ref
