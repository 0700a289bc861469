// The definition of the normalisation of rows (row_norm.h): plain loops, double accumulation.
#include "kernels/row_norm.h"

#include <cmath>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const RowNormKernels row_norm;

namespace {

template <class T>
void forward(const RowNormShape& s, float eps, const T* x, const float* gamma, const float* beta,
             float* mean, float* rstd, T* y) {
  for (int64_t r = 0; r < s.rows; ++r, x += s.n, y += s.n) {
    double m = 0, square = 0;
    for (int64_t i = 0; s.centered && i < s.n; ++i) m += x[i] / static_cast<double>(s.n);
    for (int64_t i = 0; i < s.n; ++i) square += (x[i] - m) * (x[i] - m);
    const double factor = 1 / std::sqrt(square / static_cast<double>(s.n) + eps);
    for (int64_t i = 0; i < s.n; ++i) {
      const double xhat = (x[i] - m) * factor;
      y[i] = static_cast<float>(xhat * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0));
    }
    if (s.centered) mean[r] = static_cast<float>(m);
    rstd[r] = static_cast<float>(factor);
  }
}

template <class T>
void backward(const RowNormShape& s, const T* x, const float* gamma, const float* mean,
              const float* rstd, const T* dy, bool add, float* dgamma, float* dbeta, T* dx) {
  std::vector<double> of_gamma(s.n), of_beta(s.n);
  for (int64_t r = 0; r < s.rows; ++r) {
    const int64_t first = r * s.n;
    const auto xhat = [&](int64_t i) {
      return (static_cast<double>(x[first + i]) - (s.centered ? mean[r] : 0)) * rstd[r];
    };
    const auto g = [&](int64_t i) {
      return static_cast<double>(dy[first + i]) * (gamma ? gamma[i] : 1);
    };
    double a = 0, b = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      of_gamma[i] += dy[first + i] * xhat(i);
      of_beta[i] += dy[first + i];
      if (s.centered) a += g(i) / static_cast<double>(s.n);
      b += g(i) * xhat(i) / static_cast<double>(s.n);
    }
    for (int64_t i = 0; dx && i < s.n; ++i) {
      const double gradient = rstd[r] * (g(i) - a - xhat(i) * b);
      dx[first + i] = static_cast<float>(gradient + (add ? dx[first + i] : 0.0f));
    }
  }
  for (int64_t i = 0; i < s.n; ++i) {
    if (dgamma) dgamma[i] = static_cast<float>(dgamma[i] + of_gamma[i]);
    if (dbeta) dbeta[i] = static_cast<float>(dbeta[i] + of_beta[i]);
  }
}

}  // namespace

const RowNormKernels row_norm = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::ref
