// The definition of additive_scores.h: plain loops, double sums.
#include "kernels/additive_scores.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace pydl::kernels::ref {

extern const AdditiveScoreKernels additive_score;

namespace {

// body(score, query, key, a): for each term of each score, by where they are.
template <class Body>
void for_terms(const AdditiveScoresShape& s, const Body& body) {
  for (int64_t at = 0; at < s.queries * s.batch; ++at) {
    for (int64_t j = 0; j < s.keys; ++j) {
      const int64_t key = (j * s.batch + at % s.batch) * s.size;
      for (int64_t a = 0; a < s.size; ++a) body(at * s.keys + j, at * s.size + a, key + a, a);
    }
  }
}

void store(const std::vector<double>& x, float* y) {
  std::transform(x.begin(), x.end(), y, [](double v) { return static_cast<float>(v); });
}

double hidden(float q, float k) { return std::tanh(static_cast<double>(q) + k); }

void forward(const AdditiveScoresShape& s, const float* q, const float* k, const float* v,
             float* scores) {
  std::vector<double> sums(s.queries * s.batch * s.keys);
  for_terms(s, [&](int64_t score, int64_t query, int64_t key, int64_t a) {
    sums[score] += v[a] * hidden(q[query], k[key]);
  });
  store(sums, scores);
}

void backward(const AdditiveScoresShape& s, const float* q, const float* k, const float* v,
              const float* dscores, float* dq, float* dk, float* dv) {
  const int64_t row = s.batch * s.size;
  std::vector<double> of_q(s.queries * row), of_k(s.keys * row), of_v(row);
  for_terms(s, [&](int64_t score, int64_t query, int64_t key, int64_t a) {
    const double y = hidden(q[query], k[key]), ds = dscores[score];
    of_q[query] += ds * v[a] * (1 - y * y);
    of_k[key] += ds * v[a] * (1 - y * y);
    of_v[key % row] += ds * y;
  });
  store(of_q, dq);
  store(of_k, dk);
  store(of_v, dv);
}

}  // namespace

const AdditiveScoreKernels additive_score = {forward, backward};

}  // namespace pydl::kernels::ref
