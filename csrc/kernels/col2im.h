// The gradient of a correlation with respect to its source, by columns: the transposed correlation
// as one product of matrices per image, whose rows are added to the image where the taps met it
// (Chellapilla, Puri & Simard 2006). Only what meets an output is computed, and the columns of the
// product are all taps and channels together: it pays where a correlation the other way round
// (kernels/correlation.h) would meet padding, or fill few lanes with channels.
#pragma once

#include "kernels/correlation.h"

namespace pydl::kernels {

// For correlations of one group.
struct Col2imKernels {
  // Weights packed for a ddst of a type: how many floats of memory, and how.
  int64_t (*packed_size)(const Correlation&, DType ddst);
  void (*pack)(const Correlation&, const WeightMap&, const float* w, DType ddst, float* packed);
  // dsrc[...] = the sum over i, t, c of ddst[n, i, c] w[c, k, t], where dst is the array of all
  // outputs i, then the epilogue. Products are taken in the type of ddst, sums in float32; one
  // thread computes an image, so the result does not depend on their number.
  void (*run)(const Correlation&, ConstArray ddst, const float* packed, const Epilogue&,
              Array dsrc);
};

const Col2imKernels& col2im_kernels();

}  // namespace pydl::kernels
