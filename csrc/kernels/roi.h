// Pooling of regions of interest.
//
// The layers say where a region's bins lie, by the arithmetic of their forks; kernels walk the
// bins. image (rois): which image of the batch a region is of. rows (rois, ph, 2) and columns
// (rois, pw, 2): first position of each bin and the one after its last, within the image; a bin
// without rows or columns is empty. The caller has checked all of that.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct RoiShape {
  int64_t rois, ph, pw;  // regions, and bins of each
  int64_t n, c, h, w;    // images
  int64_t row_taps = 0;  // align_*: taps of all bins of all regions along an axis
  int64_t column_taps = 0;

  // Always inlined: code for several instruction sets includes it.
  [[gnu::always_inline]] int64_t bins() const { return ph * pw; }
};

struct RoiKernels {
  // y (rois, ph, pw, c) = the maximum of each bin of x (n, h, w, c), as Pooling has it; 0 of an
  // empty one. argmax, of y's shape, may be null: where it is, as h * w + ..., or -1.
  void (*max_forward)(const RoiShape&, const int32_t* image, const int32_t* rows,
                      const int32_t* columns, const float* x, float* y, int32_t* argmax);
  // dx (n, h, w, c) is overwritten, here and below; sums go in the order of the regions.
  void (*max_backward)(const RoiShape&, const int32_t* image, const float* dy,
                       const int32_t* argmax, float* dx);

  // Position-sensitive average (Dai et al. 2016, arXiv:1605.06409). c = d * ph * pw.
  // y (rois, d, ph, pw): of channel (d * ph + i) * pw + j of x (n, c, h, w) the mean over bin
  // (i, j); 0 if that is empty.
  void (*mean_forward)(const RoiShape&, const int32_t* image, const int32_t* rows,
                       const int32_t* columns, const float* x, float* y);
  void (*mean_backward)(const RoiShape&, const int32_t* image, const int32_t* rows,
                        const int32_t* columns, const float* dy, float* dx);

  // Bilinear samples of each bin, averaged (RoIAlign: He et al. 2017, arXiv:1703.06870). They lie
  // on a grid, so their weights are products of one per row and one per column: bin i of region r
  // reads the rows row_at[k] with row_weight[k], for k from row_first[r * ph + i] up to
  // row_first[r * ph + i + 1]; likewise columns. y (rois, ph, pw, c)   x (n, h, w, c)
  void (*align_forward)(const RoiShape&, const int32_t* image, const int32_t* row_first,
                        const int32_t* row_at, const float* row_weight, const int32_t* column_first,
                        const int32_t* column_at, const float* column_weight, const float* x,
                        float* y);
  void (*align_backward)(const RoiShape&, const int32_t* image, const int32_t* row_first,
                         const int32_t* row_at, const float* row_weight,
                         const int32_t* column_first, const int32_t* column_at,
                         const float* column_weight, const float* dy, float* dx);
};

const RoiKernels& roi_kernels();

}  // namespace pydl::kernels
