// Tuning of the matrix product per instruction set.
//
// Registers: kMR * kNV accumulators, kNV vectors of B and one broadcast element of A.
// Caches: a B panel (kKC, kNR) stays in L1, or comes from L2 at the pace of long tiles (C is read
// and written once for every kKC), while the row tiles of an A block (kMC, kKC) pass by; both
// blocks, A's and B's (kKC, kNC), stay in L2.
#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

constexpr int kNV = 2;             // vectors in a row of the register tile
constexpr int kNR = kNV * kLanes;  // its columns
#if defined(__AVX512F__)
constexpr int kMR = 14;  // its rows: 14 x 2 + 3 of 32 registers
constexpr int64_t kMC = 8 * kMR, kKC = 512, kNC = 16 * kNR;
#else
constexpr int kMR = 6;  // 6 x 2 + 3 of 16 registers
constexpr int64_t kMC = 24 * kMR, kKC = 256, kNC = 16 * kNR;
#endif

// Addresses so many bytes apart share a set of L1. Rows of A that do are at most so many in a tile:
// 14 of them want more than the 8 to 12 ways there are, of which a core's other thread takes some.
constexpr int64_t kSetStride = 4096, kRowsInSet = 8;

// How many floats ahead B is prefetched, and how many rows ahead A where they run along columns.
constexpr int64_t kPrefetch = 512, kPrefetchRows = 24;

// Up to this k a product is bound by C, not by its operands.
constexpr int64_t kShortK = 64;

// Products of fewer multiply-adds than this are not worth a second thread.
constexpr double kParallelWork = 400e3;

}  // namespace pydl::kernels::PYDL_ISA
