// The scores of additive attention (additive_scores.h), vectorised over what they sum.
#include "kernels/additive_scores.h"

#include <cstring>

#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"

namespace pydl::kernels::PYDL_ISA {

extern const AdditiveScoreKernels additive_score;

namespace {

void forward(const AdditiveScoresShape& s, const float* q, const float* k, const float* v,
             float* scores) {
  const int64_t row = s.batch * s.size;
  parallel_for(s.queries * s.batch, items_worth(kMathGrain, s.keys * s.size),
               [=](int64_t begin, int64_t end) {
                 for (int64_t at = begin; at < end; ++at) {  // (T_q, N)
                   const float *query = q + at * s.size, *key = k + at % s.batch * s.size;
                   for (int64_t j = 0; j < s.keys; ++j, key += row) {
                     Vec total{};
                     for_each_vector(0, s.size, [&](int64_t a, int64_t lanes) {
                       const Vec sum = load_some(query + a, lanes) + load_some(key + a, lanes);
                       total += load_some(v + a, lanes) * tanh(sum);
                     });
                     scores[at * s.keys + j] = sum(total);
                   }
                 }
               });
}

void clear(float* x, int64_t count) {
  std::memset(x, 0, static_cast<size_t>(count) * sizeof(float));
}

// A thread has sequences to itself, as all queries of one add to the same keys. The keys are the
// inner loop: what belongs to the query stays in registers.
void backward(const AdditiveScoresShape& s, const float* q, const float* k, const float* v,
              const float* dscores, float* dq, float* dk, float* dv) {
  const int64_t row = s.batch * s.size;
  clear(dk, s.keys * row);
  clear(dv, row);
  parallel_for(s.batch, items_worth(kMathGrain, s.queries * s.keys * s.size),
               [=](int64_t begin, int64_t end) {
                 for (int64_t at = begin; at < s.queries * s.batch; ++at) {
                   const int64_t n = at % s.batch, first = n * s.size;
                   if (n >= end || n < begin) continue;
                   const float* ds = dscores + at * s.keys;
                   for_each_vector(0, s.size, [&](int64_t a, int64_t lanes) {
                     const Vec query = load_some(q + at * s.size + a, lanes);
                     const Vec by = load_some(v + a, lanes);
                     Vec of_query{}, of_v = load_some(dv + first + a, lanes);
                     for (int64_t j = 0; j < s.keys; ++j) {
                       const int64_t key = j * row + first + a;
                       const Vec y = tanh(query + load_some(k + key, lanes));
                       const Vec gradient = ds[j] * by * (1.0f - y * y);
                       of_query += gradient;
                       of_v += ds[j] * y;
                       store_some(dk + key, load_some(dk + key, lanes) + gradient, lanes);
                     }
                     store_some(dq + at * s.size + a, of_query, lanes);
                     store_some(dv + first + a, of_v, lanes);
                   });
                 }
               });
}

}  // namespace

const AdditiveScoreKernels additive_score = {forward, backward};

}  // namespace pydl::kernels::PYDL_ISA
