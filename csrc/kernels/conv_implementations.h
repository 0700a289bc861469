// The entries of conv_list(), each from a file of its own.
#pragma once

#include "kernels/conv.h"

namespace pydl::kernels {

extern const ConvImplementation conv_gemm_1x1, conv_implicit_gemm, conv_ref;

}  // namespace pydl::kernels
