// Softmax over the middle axis of (outer, classes, inner), its gradient, and the log loss.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct SoftmaxShape {
  int64_t outer, classes, inner;
};

struct SoftmaxKernels {
  // The maximum is subtracted first. y may be x.
  void (*forward)(const SoftmaxShape&, const float* x, float* y);
  // dx = y (dy - sum over classes of dy y). dx may be dy.
  void (*backward)(const SoftmaxShape&, const float* y, const float* dy, float* dx);
  // Sum of -log(max(p[label], FLT_MIN)) over the positions whose label is not ignored, in an order
  // that does not depend on the number of threads; *valid = how many they are.
  // label: (outer, inner), already checked to be in range. has_ignore: ignore_label counts.
  double (*loss)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
                 int ignore_label, int64_t* valid);
  // dx = scale (p - onehot(label)), 0 where ignored.
  void (*loss_backward)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
                        int ignore_label, float scale, float* dx);
};

const SoftmaxKernels& softmax_kernels();

}  // namespace pydl::kernels
