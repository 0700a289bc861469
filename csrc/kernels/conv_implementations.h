// The entries of conv_list(), from conv_*.cpp and ref/conv.cpp.
#pragma once

#include "kernels/conv.h"

namespace pydl::kernels {

extern const ConvImplementation conv_gemm_1x1, conv_depthwise, conv_winograd_4x4, conv_winograd_2x2,
    conv_winograd_2x2_5x5, conv_col2im, conv_implicit_gemm, conv_ref;

}  // namespace pydl::kernels
