// Choosing the implementation of a convolution by measuring.
#pragma once

#include "kernels/conv.h"

namespace pydl::kernels {

// The fastest one that accepts the problem, whether it is thought to pay there or not. Timed on
// arrays of its own, once in a process for the same shape, element type, pass, instruction set and
// number of threads. Where weights change (`learns`; always in a backward pass), the time to pack
// or transform them counts.
const ConvImplementation& fastest_conv(const ConvShape&, ConvPass);

// How many choices have been made so far, those with nothing to choose aside.
int64_t timed_convs();

}  // namespace pydl::kernels
