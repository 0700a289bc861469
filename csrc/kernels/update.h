// The solver's fused update passes over one span of the parameter arena.
#pragma once

#include <cstdint>
#include <limits>

namespace pydl::kernels {

struct UpdateShape {
  int64_t n;
  float grad_scale = 1;    // clip factor / iter_size, applied to the gradient first
  float weight_decay = 0;  // of this parameter (global * decay_mult)
  float l1 = 0;            // decay(w) is l1 sign(w) + (1 - l1) w
  float rate = 0;          // of this parameter (lr * lr_mult)
  float momentum = 0, momentum2 = 0, delta = 0;
  float decoupled_decay = 0;  // rate * weight decay that bypasses the gradient
  float clip = std::numeric_limits<float>::infinity();  // of grad_scale g, in size
};

// Each does, in one pass, from g' = clipped(grad_scale g) + weight_decay decay(w),
//   w -= step;  g = step (what Caffe leaves in the diff)
// where h, h1 and h2 are the parameter's history, updated before they are used:
struct UpdateKernels {
  // h = momentum h + rate g';  step = h
  void (*sgd)(const UpdateShape&, float* w, float* g, float* h);
  // h as in sgd;  step = (1 + momentum) h - momentum (h as it was)
  void (*nesterov)(const UpdateShape&, float* w, float* g, float* h);
  // h += g'^2;  step = rate g' / (sqrt(h) + delta)
  void (*adagrad)(const UpdateShape&, float* w, float* g, float* h);
  // h = momentum2 h + (1 - momentum2) g'^2;  step as in adagrad
  void (*rmsprop)(const UpdateShape&, float* w, float* g, float* h);
  // h1 = momentum h1 + (1 - momentum) g'^2;  u = g' sqrt((h2 as it was + delta) / (h1 + delta));
  // h2 = momentum h2 + (1 - momentum) u^2;   step = rate u
  void (*adadelta)(const UpdateShape&, float* w, float* g, float* h1, float* h2);
  // h1 = momentum h1 + (1 - momentum) g';  h2 = momentum2 h2 + (1 - momentum2) g'^2;
  // step = rate h1 / (sqrt(h2) + delta) + decoupled_decay decay(w)
  void (*adam)(const UpdateShape&, float* w, float* g, float* h1, float* h2);
  // average += rate (w - average)
  void (*average)(int64_t n, float rate, const float* w, float* average);
  // Rows (rows, size) whose L2 norm is greater than `most` are scaled down to it.
  void (*limit_norms)(int64_t rows, int64_t size, float most, float* w);
};

const UpdateKernels& update_kernels();

}  // namespace pydl::kernels
