// The definition of group normalisation (group_norm.h): plain loops, double accumulation.
#include "kernels/group_norm.h"

#include <cmath>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const GroupNormKernels group_norm;

namespace {

// body(i, c): for each element i of group u of (n, groups), of channel c.
template <class Body>
void for_each_of_group(const GroupNormShape& s, int64_t u, const Body& body) {
  const int64_t per_group = s.channels / s.groups, image = u / s.groups;
  for (int64_t k = 0; k < per_group; ++k) {
    const int64_t c = u % s.groups * per_group + k;
    for (int64_t i = 0; i < s.inner; ++i) {
      const int64_t last = (image * s.inner + i) * s.channels + c;
      body(s.channels_last ? last : (image * s.channels + c) * s.inner + i, c);
    }
  }
}

double size_of(const GroupNormShape& s) {
  return static_cast<double>(s.channels / s.groups * s.inner);
}

template <class T>
void forward(const GroupNormShape& s, float eps, const T* x, const float* gamma, const float* beta,
             float* mean, float* rstd, T* y) {
  for (int64_t u = 0; u < s.n * s.groups; ++u) {
    double sum = 0, square = 0;
    for_each_of_group(s, u, [&](int64_t i, int64_t) { sum += x[i]; });
    const double m = sum / size_of(s);
    for_each_of_group(s, u, [&](int64_t i, int64_t) { square += (x[i] - m) * (x[i] - m); });
    const double r = 1 / std::sqrt(square / size_of(s) + eps);
    for_each_of_group(s, u, [&](int64_t i, int64_t c) {
      const double scaled = (x[i] - m) * r * (gamma ? gamma[c] : 1);
      y[i] = static_cast<float>(scaled + (beta ? beta[c] : 0));
    });
    mean[u] = static_cast<float>(m);
    rstd[u] = static_cast<float>(r);
  }
}

template <class T>
void backward(const GroupNormShape& s, const T* x, const float* gamma, const float* mean,
              const float* rstd, const T* dy, bool add, float* dgamma, float* dbeta, T* dx) {
  std::vector<double> of_gamma(s.channels), of_beta(s.channels);
  for (int64_t u = 0; u < s.n * s.groups; ++u) {
    const auto xhat = [&](int64_t i) { return (static_cast<double>(x[i]) - mean[u]) * rstd[u]; };
    const auto g = [&](int64_t i, int64_t c) {
      return static_cast<double>(dy[i]) * (gamma ? gamma[c] : 1);
    };
    double a = 0, b = 0;
    for_each_of_group(s, u, [&](int64_t i, int64_t c) {
      a += g(i, c) / size_of(s);
      b += g(i, c) * xhat(i) / size_of(s);
      of_gamma[c] += dy[i] * xhat(i);
      of_beta[c] += dy[i];
    });
    if (!dx) continue;
    for_each_of_group(s, u, [&](int64_t i, int64_t c) {
      const double d = rstd[u] * (g(i, c) - a - xhat(i) * b);
      dx[i] = static_cast<float>(add ? dx[i] + d : d);
    });
  }
  for (int64_t c = 0; c < s.channels; ++c) {
    if (dgamma) dgamma[c] = static_cast<float>(dgamma[c] + of_gamma[c]);
    if (dbeta) dbeta[c] = static_cast<float>(dbeta[c] + of_beta[c]);
  }
}

}  // namespace

const GroupNormKernels group_norm = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::ref
