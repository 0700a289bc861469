// The passes of a convolution as correlations (kernels/correlation.h).
#pragma once

#include <vector>

#include "kernels/conv.h"
#include "kernels/correlation.h"

namespace pydl::kernels {

// A correlation and where its weights are.
struct Pass {
  Correlation shape;
  WeightMap weights;
};

// For at most three spatial axes.
Pass forward_pass(const ConvShape&);
// The roles of the channels are swapped; one pass for each phase of the strides, those of the last
// axis one after the other.
std::vector<Pass> backward_passes(const ConvShape&);

}  // namespace pydl::kernels
