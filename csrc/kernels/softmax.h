// Softmax over the middle axis of (outer, classes, inner), its gradient, and log losses.
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
  // Sum of -log(max(p[label], least)) over the positions whose label is not ignored, in an order
  // that does not depend on the number of threads; *valid = how many they are.
  // label: (outer, inner), already checked to be in range. has_ignore: ignore_label counts.
  double (*loss)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
                 int ignore_label, float least, int64_t* valid);
  // dx = scale (p - onehot(label)), 0 where ignored.
  void (*loss_backward)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
                        int ignore_label, float scale, float* dx);
  // The same where each class is expected with a probability of its own,
  // q[k] = (1 - smoothing) onehot(label)[k] + smoothing / classes, and positions weigh
  // w = class_weight[label] weight (null: 1 each): the sum of -w q[k] log(max(p[k], least)).
  // class_weight: (classes)   weight: (outer, inner); where it is 0 a position is not valid
  double (*smoothed_loss)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
                          int ignore_label, const float* class_weight, const float* weight,
                          float smoothing, float least, int64_t* valid);
  // dx = scale w (p - q), 0 where ignored.
  void (*smoothed_loss_backward)(const SoftmaxShape&, const float* p, const float* label,
                                 bool has_ignore, int ignore_label, const float* class_weight,
                                 const float* weight, float smoothing, float scale, float* dx);
  // The cross entropy with expected probabilities t, (outer, classes, inner), smoothed to
  // q = (1 - smoothing) t + smoothing / classes: the sum of -q log(max(p, least)).
  double (*soft_loss)(const SoftmaxShape&, const float* p, const float* t, float smoothing,
                      float least);
  // dx[k] = scale (p[k] sum over l of q[l] - q[k])
  void (*soft_loss_backward)(const SoftmaxShape&, const float* p, const float* t, float smoothing,
                             float scale, float* dx);
  // out (outer, inner) = p at each label, 1 where ignored.
  void (*pick)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
               int ignore_label, float* out);
  // dx = scale weight (p - onehot(label)), 0 where ignored. weight: (outer, inner)
  void (*weighted_backward)(const SoftmaxShape&, const float* p, const float* label,
                            bool has_ignore, int ignore_label, const float* weight, float scale,
                            float* dx);
  // Likewise the sum of -weights[label, k] log(max(p[k], least)), over all classes k as well.
  // weights: (classes, classes)
  double (*infogain)(const SoftmaxShape&, const float* p, const float* label, bool has_ignore,
                     int ignore_label, const float* weights, float least, int64_t* valid);
  // dx[k] = scale (p[k] sum over l of weights[label, l] - weights[label, k]), 0 where ignored.
  // sums: (classes), the sum of each row of weights
  void (*infogain_backward)(const SoftmaxShape&, const float* p, const float* label,
                            bool has_ignore, int ignore_label, const float* weights,
                            const float* sums, float scale, float* dx);
};

const SoftmaxKernels& softmax_kernels();

}  // namespace pydl::kernels
