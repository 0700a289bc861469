// 3x3 and 5x5 correlations of stride 1 by Winograd's minimal filtering (Winograd 1980; Lavin & Gray
// 2016, arXiv:1509.09308). In one dimension, for the M outputs y of a tile, its M + R - 1 inputs d
// and the R weights g:
//
//   y = A^T [(G g) . (B^T d)]
//
// and the same along both axes in two. Summed over channels, each of the (M + R - 1)^2 products is
// a product of matrices: U = G g G^T (ic, oc), V = B^T d B (tiles, ic), M = V U (tiles, oc).
//
// A NaN or an infinity spreads over its whole tile. Tiles that hold one are therefore left out and
// reported; the caller makes their outputs in another way.
//
// Arrays of bfloat16 are widened before the transforms and rounded behind them; weights, products
// and sums are float32 in any case.
#pragma once

#include "kernels/correlation.h"

namespace pydl::kernels {

// The outputs of one image are cut into rows x columns tiles, of which the last may be cut off.
struct WinogradTiles {
  int64_t size, rows, columns, count;  // outputs of a tile per axis; count: of all images
};

// Inlined always, as in simd.h.
[[gnu::always_inline]] inline WinogradTiles winograd_tiles(const Correlation& c, int64_t size) {
  const int64_t rows = (c.axis[1].dst + size - 1) / size;
  const int64_t columns = (c.axis[2].dst + size - 1) / size;
  return {size, rows, columns, c.n * rows * columns};
}

// For correlations whose axis 0 has size 1, and whose axes 1 and 2 have `taps` taps each, no steps
// between taps or outputs, and all of dst as outputs.
struct WinogradKernels {
  int64_t tile_size, taps;
  int64_t (*packed_size)(const Correlation&);  // floats in the transformed weights
  // False if the weights are not all finite: then the packed ones cannot be used.
  bool (*pack)(const Correlation&, const WeightMap&, const float* w, float* packed);
  // As CorrelationKernels::run, but leaves the tiles with skipped[tile] != 0 as they are: those
  // that meet a value which is not finite (or so large that the transform overflows). Returns
  // whether there are any.
  bool (*run)(const Correlation&, ConstArray src, const float* packed, const Epilogue&, Array dst,
              uint8_t* skipped);
  // As CorrelationKernels::backward_weights. If not all values are finite it returns false, with dw
  // as it was.
  bool (*backward_weights)(const Correlation&, const WeightMap&, ConstArray src, ConstArray ddst,
                           float* dw);
};

const WinogradKernels& winograd_2x2_kernels();
const WinogradKernels& winograd_4x4_kernels();
const WinogradKernels& winograd_2x2_5x5_kernels();

}  // namespace pydl::kernels
