// What the passes of a convolution come down to: correlations over three spatial axes.
//
//   dst[n, at(i), g oc + c] = sum over t, k of
//       src[n, first + i src_step + t tap_step, g ic + k] w[g, c, k, t]
//
// with i and t running over the three axes, and zeros outside of src; then the epilogue. The
// forward pass is one of them. The gradient with respect to the input is one for each phase of the
// stride: the input positions that are congruent modulo the stride meet the same taps, in reverse.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"
#include "pydl/array.h"

namespace pydl::kernels {

struct CorrelationAxis {
  int64_t src, dst;             // sizes of the arrays
  int64_t count;                // how many outputs i there are
  int64_t dst_first, dst_step;  // output i is at dst_first + i dst_step
  int64_t src_first, src_step;  // its first tap is at src_first + i src_step
  int64_t taps, tap_step;
};

struct Correlation {
  int64_t n, group, ic, oc;  // ic, oc: channels of one group
  CorrelationAxis axis[3];   // outermost first
  int64_t taps() const { return axis[0].taps * axis[1].taps * axis[2].taps; }
};

// Where w[g, c, k, t] lies in the plain weights: a linear function.
struct WeightMap {
  int64_t first, group, oc, ic, tap[3];
};

// One of several correlations of one src that share out dst between them.
struct CorrelationPart {
  const Correlation* shape;
  const float* packed;  // its weights
};

struct CorrelationKernels {
  // Weights packed for a source of a type: how many floats of memory, and how.
  int64_t (*packed_size)(const Correlation&, DType src);
  void (*pack)(const Correlation&, const WeightMap&, const float* w, DType src, float* packed);
  // One correlation, or the phases of one gradient in the order of backward_passes (conv_passes.h).
  void (*run)(const CorrelationPart*, int64_t count, ConstArray src, const Epilogue&, Array dst);
  // dw[g, c, k, t] += sum over n, i of src[...] ddst[n, at(i), g oc + c]. The split of the sum
  // depends on the problem only, so the result does not depend on the number of threads.
  void (*backward_weights)(const Correlation&, const WeightMap&, ConstArray src, ConstArray ddst,
                           float* dw);
};

// Products are taken in the type of the source, sums in float32. There is no reference:
// ref/conv.cpp defines what the passes must give.
const CorrelationKernels& correlation_kernels();  // any problem
const CorrelationKernels& depthwise_kernels();    // ic = oc = 1

}  // namespace pydl::kernels
