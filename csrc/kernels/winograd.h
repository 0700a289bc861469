// 3x3 correlations of stride 1 by Winograd's minimal filtering (Winograd 1980; Lavin & Gray 2016,
// arXiv:1509.09308). In one dimension, for the M outputs y of a tile, its M + 2 inputs d and the
// weights g:
//
//   y = A^T [(G g) . (B^T d)]
//
// and the same along both axes in two. Summed over channels, each of the (M + 2)^2 products is a
// product of matrices: U = G g G^T (ic, oc), V = B^T d B (tiles, ic), M = V U (tiles, oc).
//
// A NaN or an infinity spreads over its whole tile. Tiles that hold one are therefore left out and
// reported; the caller makes their outputs in another way.
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

// For correlations whose axis 0 has size 1, and whose axes 1 and 2 have three taps each, no steps
// between taps or outputs, and all of dst as outputs.
struct WinogradKernels {
  int64_t tile_size;
  int64_t (*packed_size)(const Correlation&);  // floats in the transformed weights
  // False if the weights are not all finite: then the packed ones cannot be used.
  bool (*pack)(const Correlation&, const WeightMap&, const float* w, float* packed);
  // As CorrelationKernels::run, but leaves the tiles with skipped[tile] != 0 as they are: those
  // that meet a value which is not finite (or so large that the transform overflows). Returns
  // whether there are any.
  bool (*run)(const Correlation&, const float* src, const float* packed, const Epilogue&,
              float* dst, uint8_t* skipped);
  // As CorrelationKernels::backward_weights. If not all values are finite it returns false, with dw
  // as it was.
  bool (*backward_weights)(const Correlation&, const WeightMap&, const float* src,
                           const float* ddst, float* dw);
};

const WinogradKernels& winograd_2x2_kernels();
const WinogradKernels& winograd_4x4_kernels();

}  // namespace pydl::kernels
