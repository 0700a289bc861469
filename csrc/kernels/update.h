// The solver's fused update passes over one span of the parameter arena.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct UpdateShape {
  int64_t n;
  float grad_scale;    // clip factor / iter_size, applied to the gradient first
  float weight_decay;  // of this parameter (global * decay_mult)
  bool l1;             // weight decay adds sign(w), not w
  float rate;          // of this parameter (lr * lr_mult)
  float momentum;
};

struct UpdateKernels {
  // g' = grad_scale g + decay(w);  h = momentum h + rate g';  w -= h;  g = h (what Caffe leaves).
  void (*sgd)(const UpdateShape&, float* w, float* g, float* h);
};

const UpdateKernels& update_kernels();

}  // namespace pydl::kernels
