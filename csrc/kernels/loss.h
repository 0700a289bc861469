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
  // out[r] = sum of a b over row r
  void (*dots)(int64_t rows, int64_t dim, const float* a, const float* b, double* out);
  // y = (or, with `add`, +=) f[r] a + g[r] b in row r
  void (*combine_rows)(int64_t rows, int64_t dim, const float* f, const float* a, const float* g,
                       const float* b, bool add, float* y);
  // out[r] = sum of |a - b + eps|^p over row r
  void (*powers)(int64_t rows, int64_t dim, const float* a, const float* b, float eps, float p,
                 double* out);
  // y = (or, with `add`, +=) factor[r] sign(e) |e|^(p - 1) in row r, e = a - b + eps; 0 at e = 0
  void (*power_slopes)(int64_t rows, int64_t dim, const float* factor, const float* a,
                       const float* b, float eps, float p, bool add, float* y);
  // The sum of w t (log t - x), 0 where t is 0; or with log_target, t the logarithm, of
  // w exp(t) (t - x). w may be null: 1.
  double (*kl_divergence)(int64_t n, const float* x, const float* t, const float* w,
                          bool log_target);
  // Gradients times scale. dx or dt may be null.
  void (*kl_divergence_backward)(int64_t n, const float* x, const float* t, const float* w,
                                 bool log_target, float scale, float* dx, float* dt);
  // The sum of w a q^gamma ce, where p = sigmoid(x), ce is its cross entropy with the target t from
  // 0 to 1, q = p (1 - t) + (1 - p) t, a = alpha t + (1 - alpha) (1 - t), or 1 if alpha < 0 (Lin et
  // al. 2017, arXiv:1708.02002). w may be null: 1.
  double (*focal)(int64_t n, const float* x, const float* t, const float* w, float alpha,
                  float gamma);
  void (*focal_backward)(int64_t n, const float* x, const float* t, const float* w, float alpha,
                         float gamma, float scale, float* dx);
  // Of a softmax: the sum of -w (1 - p)^gamma log(max(p, least)), p the probability of the label;
  // slope = -p times its derivative by p.
  double (*focal_of_label)(int64_t n, const float* p, const float* w, float gamma, float least,
                           float* slope);
  // The sum of the differences of neighbours in images x (n, h, w), |d| or d^2, and dx = scale
  // times its gradient.
  double (*variation)(int64_t n, int64_t h, int64_t w, const float* x, bool squared);
  void (*variation_backward)(int64_t n, int64_t h, int64_t w, const float* x, bool squared,
                             float scale, float* dx);
};

const LossKernels& loss_kernels();

}  // namespace pydl::kernels
