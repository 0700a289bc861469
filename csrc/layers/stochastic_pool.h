// Stochastic pooling (Zeiler & Fergus 2013, arXiv:1301.3557) as Caffe's GPU code has it: windows
// are clipped to the input, and there is no padding.
#pragma once

#include <cstdint>

#include "kernels/pool.h"

namespace pydl {

// Takes one element of each window with a probability proportional to its value, and stores its
// index in the plane. Which one depends on the seed, the stream and the window's number alone.
void stochastic_sample(const kernels::PoolShape& shape, uint64_t seed, uint64_t stream,
                       const float* x, float* y, int32_t* index);

// y = sum x^2 / sum x, the expected value of the above; 0 where sum x <= 0.
void stochastic_average(const kernels::PoolShape& shape, const float* x, float* y);

// dx = sum over windows of dy (2 x - y) / sum x; overwritten.
void stochastic_average_backward(const kernels::PoolShape& shape, const float* x, const float* y,
                                 const float* dy, float* dx);

}  // namespace pydl
