// The definition of the update passes (update.h): one parameter at a time, in double.
#include "kernels/update.h"

#include <algorithm>
#include <cmath>

namespace pydl::kernels::ref {

extern const UpdateKernels update;

namespace {

double decay(const UpdateShape& s, float w) {
  const double l1 = s.l1;
  return l1 > 0 ? l1 * ((w > 0) - (w < 0)) + (1 - l1) * w : w;
}

// rule(i, g') is the step of parameter i.
template <class Rule>
void update_all(const UpdateShape& s, float* w, float* g, const Rule& rule) {
  for (int64_t i = 0; i < s.n; ++i) {
    const double clip = s.clip;
    const double gradient = std::clamp(static_cast<double>(s.grad_scale) * g[i], -clip, clip);
    g[i] = static_cast<float>(rule(i, gradient + s.weight_decay * decay(s, w[i])));
    w[i] -= g[i];
  }
}

void blend(double keep, double x, float* h) {
  *h = static_cast<float>(keep * static_cast<double>(*h) + (1 - keep) * x);
}

void sgd(const UpdateShape& s, float* w, float* g, float* h) {
  update_all(s, w, g, [&](int64_t i, double gradient) {
    return h[i] = static_cast<float>(static_cast<double>(s.momentum) * h[i] + s.rate * gradient);
  });
}

void nesterov(const UpdateShape& s, float* w, float* g, float* h) {
  update_all(s, w, g, [&](int64_t i, double gradient) {
    const double momentum = s.momentum, before = h[i];
    h[i] = static_cast<float>(momentum * before + s.rate * gradient);
    return (1 + momentum) * h[i] - momentum * before;
  });
}

void adagrad(const UpdateShape& s, float* w, float* g, float* h) {
  update_all(s, w, g, [&](int64_t i, double gradient) {
    h[i] = static_cast<float>(h[i] + gradient * gradient);
    return s.rate * gradient / (std::sqrt(static_cast<double>(h[i])) + s.delta);
  });
}

void rmsprop(const UpdateShape& s, float* w, float* g, float* h) {
  update_all(s, w, g, [&](int64_t i, double gradient) {
    blend(s.momentum2, gradient * gradient, &h[i]);
    return s.rate * gradient / (std::sqrt(static_cast<double>(h[i])) + s.delta);
  });
}

void adadelta(const UpdateShape& s, float* w, float* g, float* h1, float* h2) {
  update_all(s, w, g, [&](int64_t i, double gradient) {
    const double delta = s.delta;
    blend(s.momentum, gradient * gradient, &h1[i]);
    const double u = gradient * std::sqrt((h2[i] + delta) / (h1[i] + delta));
    blend(s.momentum, u * u, &h2[i]);
    return s.rate * u;
  });
}

void adam(const UpdateShape& s, float* w, float* g, float* h1, float* h2) {
  update_all(s, w, g, [&](int64_t i, double gradient) {
    blend(s.momentum, gradient, &h1[i]);
    blend(s.momentum2, gradient * gradient, &h2[i]);
    return static_cast<double>(s.rate) * h1[i] / (std::sqrt(static_cast<double>(h2[i])) + s.delta) +
           s.decoupled_decay * decay(s, w[i]);
  });
}

void average(int64_t n, float rate, const float* w, float* average) {
  for (int64_t i = 0; i < n; ++i) {
    average[i] += static_cast<float>(rate * (static_cast<double>(w[i]) - average[i]));
  }
}

void limit_norms(int64_t rows, int64_t size, float most, float* w) {
  for (float* row = w; row < w + rows * size; row += size) {
    double square = 0;
    for (int64_t i = 0; i < size; ++i) square += static_cast<double>(row[i]) * row[i];
    const double norm = std::sqrt(square);
    if (!(norm > most)) continue;
    for (int64_t i = 0; i < size; ++i) row[i] = static_cast<float>(row[i] * (most / norm));
  }
}

}  // namespace

const UpdateKernels update = {sgd,      nesterov, adagrad, rmsprop,
                              adadelta, adam,     average, limit_norms};

}  // namespace pydl::kernels::ref
