// Tuning of the Winograd convolutions.
#pragma once

#include "kernels/cpu/gemm_params.h"

namespace pydl::kernels::PYDL_ISA {

// Up to so many channels a thread keeps a block of tiles in L2 from the input to the output; with
// more, U no longer stays there beside it, and each product is made over many tiles at a time.
constexpr int64_t kFusedChannels = 128;
constexpr int64_t kFusedTiles = 4 * kMR;

// Else: floats in V and M of one block of tiles, which stay in L3.
constexpr int64_t kStagedFloats = 2 * 1024 * 1024;

// Up to so many floats in dU, each part of the tiles has its own and threads keep blocks of tiles
// in L2; dU is made in pieces of so many rows of one panel.
constexpr int64_t kFusedGradientFloats = 36 * 64 * 160;
constexpr int64_t kFusedGradientRows = 64;

// Else: pieces of so many rows and columns (the larger, the less often V and Y come from L3), and
// floats in V and Y of one block of tiles, unless dU, which each block adds to, has more.
constexpr int64_t kGradientRows = 128, kGradientColumns = 64;
constexpr int64_t kStagedGradientFloats = 2 * 1024 * 1024;

}  // namespace pydl::kernels::PYDL_ISA
