// Losses of predictions against targets or labels, before they are averaged, and their gradients.
// Sums are taken in an order that does not depend on the number of threads.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct LossKernels {
  // out[r] = sum of (a - b)^2 over row r; a, b: (rows, dim)
  void (*squared_distances)(int64_t rows, int64_t dim, const float* a, const float* b, double* out);
  // y = factor[r] (a - b) in row r
  void (*scaled_differences)(int64_t rows, int64_t dim, const float* factor, const float* a,
                             const float* b, float* y);
  // The sum of h = max(0, 1 + x), with -x at the label of each row, or of h^2.
  // x: (rows, dim); label: (rows), already checked to be in range.
  double (*hinge)(int64_t rows, int64_t dim, const float* x, const float* label, bool squared);
  void (*hinge_backward)(int64_t rows, int64_t dim, const float* x, const float* label,
                         bool squared, float scale, float* dx);
  // The sum of the cross entropies of sigmoid(x) with target, each a probability, over those that
  // are not ignored; *valid = how many they are. has_ignore: targets that ignore_label is the
  // integer part of do not count.
  double (*sigmoid)(int64_t n, const float* x, const float* target, bool has_ignore,
                    int ignore_label, int64_t* valid);
  // dx = scale (sigmoid(x) - target), 0 where ignored.
  void (*sigmoid_backward)(int64_t n, const float* x, const float* target, bool has_ignore,
                           int ignore_label, float scale, float* dx);
  // The sum of outer f(d), d = inner (a - b), f(d) = |d| < 1 / s^2 ? (s d)^2 / 2 : |d| - 1 / (2
  // s^2) for s = sigma (Girshick 2015, arXiv:1504.08083). inner and outer may be null: 1.
  double (*smooth_l1)(int64_t n, const float* a, const float* b, const float* inner,
                      const float* outer, float sigma);
  // da = scale inner outer f'(d)
  void (*smooth_l1_backward)(int64_t n, const float* a, const float* b, const float* inner,
                             const float* outer, float sigma, float scale, float* da);
};

const LossKernels& loss_kernels();

}  // namespace pydl::kernels
