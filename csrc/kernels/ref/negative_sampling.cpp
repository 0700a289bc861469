// The definition of negative_sampling.h: plain loops, double sums.
#include "kernels/negative_sampling.h"

#include <cmath>
#include <vector>

#include "core/random.h"

namespace pydl::kernels::ref {

extern const NegativeSamplingKernels negative_sampling;

namespace {

uint32_t word(uint64_t seed, uint64_t stream, int64_t i) {
  return philox(seed, stream, static_cast<uint64_t>(i / 4))[static_cast<size_t>(i % 4)];
}

void draw(int64_t n, int64_t words, const float* keep, const int32_t* alias, uint64_t seed,
          uint64_t stream, int32_t* ids) {
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t column = static_cast<uint64_t>(words) * word(seed, stream, 2 * i) >> 32;
    const float u = static_cast<float>(word(seed, stream, 2 * i + 1) >> 8) * 0x1p-24f;
    ids[i] = u < keep[column] ? static_cast<int32_t>(column) : alias[column];
  }
}

double forward(const SampledShape& s, const float* x, const float* w, const float* bias,
               const float* offset, const int32_t* ids, float* wrong) {
  double loss = 0;
  for (int64_t i = 0; i < s.rows * s.samples; ++i) {
    wrong[i] = 0;
    if (ids[i] < 0) continue;
    double score = bias ? bias[ids[i]] : 0;
    if (offset) score += offset[ids[i]];
    for (int64_t k = 0; k < s.size; ++k) {
      score += static_cast<double>(x[i / s.samples * s.size + k]) * w[ids[i] * s.size + k];
    }
    if (i % s.samples == 0) score = -score;
    wrong[i] = static_cast<float>(1 / (1 + std::exp(-score)));
    loss += std::fmax(score, 0.0) + std::log1p(std::exp(-std::fabs(score)));
  }
  return loss;
}

double slope(const SampledShape& s, int64_t i, const float* wrong, float scale) {
  return static_cast<double>(scale) * (i % s.samples == 0 ? -wrong[i] : wrong[i]);
}

void backward_x(const SampledShape& s, const float* w, const int32_t* ids, const float* wrong,
                float scale, float* dx) {
  for (int64_t r = 0; r < s.rows; ++r) {
    std::vector<double> sum(s.size, 0);
    for (int64_t i = r * s.samples; i < (r + 1) * s.samples; ++i) {
      for (int64_t k = 0; ids[i] >= 0 && k < s.size; ++k) {
        sum[k] += slope(s, i, wrong, scale) * w[ids[i] * s.size + k];
      }
    }
    for (int64_t k = 0; k < s.size; ++k) dx[r * s.size + k] = static_cast<float>(sum[k]);
  }
}

void backward_w(const SampledShape& s, const float* x, const int32_t* ids, const float* wrong,
                float scale, float* dw, float* db) {
  for (int64_t i = 0; i < s.rows * s.samples; ++i) {
    if (ids[i] < 0) continue;
    const double ds = slope(s, i, wrong, scale);
    for (int64_t k = 0; dw && k < s.size; ++k) {
      dw[ids[i] * s.size + k] += static_cast<float>(ds * x[i / s.samples * s.size + k]);
    }
    if (db) db[ids[i]] += static_cast<float>(ds);
  }
}

}  // namespace

const NegativeSamplingKernels negative_sampling = {draw, forward, backward_x, backward_w};

}  // namespace pydl::kernels::ref
