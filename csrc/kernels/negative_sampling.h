// Negative sampling and noise-contrastive estimation: each row of inputs x is told apart, by the
// logistic loss, from a few rows of a table of outputs w, of which the first is the right one.
//
// ids: (rows, samples), rows of w: the target's, then those drawn as negatives; -1 is left out.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct SampledShape {
  int64_t rows, samples, size;  // x: (rows, size)   w: (words, size)
};

struct NegativeSamplingKernels {
  // n draws from a distribution over `words` values by the alias method (Walker 1977; Vose 1991):
  // c = words * word[2 i] / 2^32; ids[i] = u < keep[c] ? c : alias[c], u = (word[2 i + 1] >> 8)
  // 2^-24, with the words of the stream as in stochastic.h.
  void (*draw)(int64_t n, int64_t words, const float* keep, const int32_t* alias, uint64_t seed,
               uint64_t stream, int32_t* ids);
  // s = x . w[id] + bias[id] + offset[id], of which `wrong` gets the probability that the answer is
  // wrong, sigmoid(-s) for the first sample and sigmoid(s) for the others, 0 where id is -1.
  // Returns the sum of -log(1 - wrong), in an order that does not depend on the number of threads.
  // bias, offset: (words), or null   wrong: (rows, samples)
  double (*forward)(const SampledShape&, const float* x, const float* w, const float* bias,
                    const float* offset, const int32_t* ids, float* wrong);
  // ds = -scale wrong for the first sample, scale wrong for the others; dx = the sum of ds w[id]
  void (*backward_x)(const SampledShape&, const float* w, const int32_t* ids, const float* wrong,
                     float scale, float* dx);
  // dw[id] += ds x, db[id] += ds, in the order of ids whatever the number of threads. dw or db may
  // be null.
  void (*backward_w)(const SampledShape&, const float* x, const int32_t* ids, const float* wrong,
                     float scale, float* dw, float* db);
};

const NegativeSamplingKernels& negative_sampling_kernels();

}  // namespace pydl::kernels
