// The cost volume of two images, FlowNet's correlation (Dosovitskiy et al. 2015): how well each
// place of one matches its neighbourhood in the other.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct CostVolumeShape {
  int64_t n, c, h, w;    // of both images
  int64_t out_h, out_w;  // places that are compared
  int64_t kernel;        // height and width of the patches, odd
  int64_t max_displacement, pad;
  int64_t stride1, stride2;  // from place to place, and from displacement to displacement
  bool subtract;             // sums of |a - b| in the place of products a b

  int64_t radius() const { return max_displacement / stride2; }
  int64_t side() const { return 2 * radius() + 1; }
  int64_t displacements() const { return side() * side(); }
  double patch_size() const { return static_cast<double>(kernel * kernel * c); }
  // The row or column of the image at which the patch of the place `i` starts.
  int64_t start(int64_t i) const { return i * stride1 + max_displacement - pad; }
};

struct CostVolumeKernels {
  // y[d] = sum over the patch of a[p] b[p + d] / patch_size, or of |a[p] - b[p + d]|; outside of
  // the images there are zeros.
  // a, b: (n, h, w, c)   y: (n, out_h, out_w, displacements), row by row
  void (*forward)(const CostVolumeShape&, const float* a, const float* b, float* y);
  // da = dy . b, the gradient by a, or sign(a - b) . dy. a is read for the sign alone.
  void (*backward_a)(const CostVolumeShape&, const float* a, const float* b, const float* dy,
                     float* da);
  void (*backward_b)(const CostVolumeShape&, const float* a, const float* b, const float* dy,
                     float* db);
};

const CostVolumeKernels& cost_volume_kernels();

}  // namespace pydl::kernels
