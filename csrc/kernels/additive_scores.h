// The scores of additive attention (Bahdanau et al. 2015, arXiv:1409.0473): of T_q queries for each
// of T_k keys, in N sequences by themselves.
//
//   q: (T_q, N, A)   k: (T_k, N, A)   v: (A)   scores: (T_q, N, T_k)
//
//   scores[i, n, j] = sum over a of v[a] tanh(q[i, n, a] + k[j, n, a])
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct AdditiveScoresShape {
  int64_t queries, keys, batch, size;  // T_q, T_k, N, A
};

struct AdditiveScoreKernels {
  void (*forward)(const AdditiveScoresShape&, const float* q, const float* k, const float* v,
                  float* scores);
  // dq, dk, and dv (N, A): of each sequence by itself.
  void (*backward)(const AdditiveScoresShape&, const float* q, const float* k, const float* v,
                   const float* dscores, float* dq, float* dk, float* dv);
};

const AdditiveScoreKernels& additive_score_kernels();

}  // namespace pydl::kernels
