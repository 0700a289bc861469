// The definition of the losses (loss.h): one element at a time, in double.
#include "kernels/loss.h"

#include <cmath>

namespace pydl::kernels::ref {

extern const LossKernels loss;

namespace {

void squared_distances(int64_t rows, int64_t dim, const float* a, const float* b, double* out) {
  for (int64_t r = 0; r < rows; ++r) {
    out[r] = 0;
    for (int64_t i = r * dim; i < (r + 1) * dim; ++i) {
      const double difference = static_cast<double>(a[i]) - b[i];
      out[r] += difference * difference;
    }
  }
}

void scaled_differences(int64_t rows, int64_t dim, const float* factor, const float* a,
                        const float* b, float* y) {
  for (int64_t i = 0; i < rows * dim; ++i) y[i] = factor[i / dim] * (a[i] - b[i]);
}

// 0 where v is less; NaN stays.
double relu(double v) { return v < 0 ? 0 : v; }

// body(i, sign): for each element, -1 at its row's label, else 1.
template <class Body>
void for_each_signed(int64_t rows, int64_t dim, const float* label, const Body& body) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < dim; ++j) {
      body(r * dim + j, j == static_cast<int64_t>(label[r]) ? -1.0 : 1.0);
    }
  }
}

double hinge(int64_t rows, int64_t dim, const float* x, const float* label, bool squared) {
  double sum = 0;
  for_each_signed(rows, dim, label, [&](int64_t i, double sign) {
    const double h = relu(1 + sign * x[i]);
    sum += squared ? h * h : h;
  });
  return sum;
}

void hinge_backward(int64_t rows, int64_t dim, const float* x, const float* label, bool squared,
                    float scale, float* dx) {
  for_each_signed(rows, dim, label, [&](int64_t i, double sign) {
    const double h = relu(1 + sign * x[i]);
    dx[i] = static_cast<float>(scale * sign * (squared ? 2 * h : h > 0 ? 1 : 0));
  });
}

bool is_ignored(float target, bool has_ignore, int ignore_label) {
  return has_ignore && std::trunc(target) == static_cast<float>(ignore_label);
}

double sigmoid_loss(int64_t n, const float* x, const float* target, bool has_ignore,
                    int ignore_label, int64_t* valid) {
  double sum = 0;
  *valid = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (is_ignored(target[i], has_ignore, ignore_label)) continue;
    const double v = x[i];
    sum += v * ((v >= 0 ? 1 : 0) - target[i]) + std::log1p(std::exp(-std::fabs(v)));
    ++*valid;
  }
  return sum;
}

void sigmoid_backward(int64_t n, const float* x, const float* target, bool has_ignore,
                      int ignore_label, float scale, float* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double s = 1 / (1 + std::exp(-static_cast<double>(x[i])));
    dx[i] = is_ignored(target[i], has_ignore, ignore_label)
                ? 0
                : static_cast<float>(scale * (s - target[i]));
  }
}

double weighted_difference(int64_t i, const float* a, const float* b, const float* inner) {
  return (inner ? inner[i] : 1.0) * (static_cast<double>(a[i]) - b[i]);
}

double smooth_l1(int64_t n, const float* a, const float* b, const float* inner, const float* outer,
                 float sigma) {
  const double square = static_cast<double>(sigma) * sigma;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double d = weighted_difference(i, a, b, inner), size = std::fabs(d);
    const double value = size < 1 / square ? square * d * d / 2 : size - 0.5 / square;
    sum += (outer ? outer[i] : 1.0) * value;
  }
  return sum;
}

void smooth_l1_backward(int64_t n, const float* a, const float* b, const float* inner,
                        const float* outer, float sigma, float scale, float* da) {
  const double square = static_cast<double>(sigma) * sigma;
  for (int64_t i = 0; i < n; ++i) {
    const double d = weighted_difference(i, a, b, inner);
    const double slope = std::fabs(d) < 1 / square ? square * d : d > 0 ? 1 : d < 0 ? -1 : d;
    const double weight = (inner ? inner[i] : 1.0) * (outer ? outer[i] : 1.0);
    da[i] = static_cast<float>(scale * weight * slope);
  }
}

void dots(int64_t rows, int64_t dim, const float* a, const float* b, double* out) {
  for (int64_t r = 0; r < rows; ++r) {
    out[r] = 0;
    for (int64_t i = r * dim; i < (r + 1) * dim; ++i) out[r] += static_cast<double>(a[i]) * b[i];
  }
}

void combine_rows(int64_t rows, int64_t dim, const float* f, const float* a, const float* g,
                  const float* b, bool add, float* y) {
  for (int64_t i = 0; i < rows * dim; ++i) {
    const int64_t r = i / dim;
    const double sum = static_cast<double>(f[r]) * a[i] + static_cast<double>(g[r]) * b[i];
    y[i] = static_cast<float>(add ? y[i] + sum : sum);
  }
}

void powers(int64_t rows, int64_t dim, const float* a, const float* b, float eps, float p,
            double* out) {
  for (int64_t r = 0; r < rows; ++r) {
    out[r] = 0;
    for (int64_t i = r * dim; i < (r + 1) * dim; ++i) {
      out[r] += std::pow(std::fabs(static_cast<double>(a[i]) - b[i] + eps), p);
    }
  }
}

void power_slopes(int64_t rows, int64_t dim, const float* factor, const float* a, const float* b,
                  float eps, float p, bool add, float* y) {
  for (int64_t i = 0; i < rows * dim; ++i) {
    const double e = static_cast<double>(a[i]) - b[i] + eps;
    const double size = e == 0 ? 0 : std::copysign(std::pow(std::fabs(e), p - 1), e);
    y[i] = static_cast<float>((add ? y[i] : 0.0) + factor[i / dim] * size);
  }
}

double kl_divergence(int64_t n, const float* x, const float* t, const float* w, bool log_target) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double target = t[i], share = log_target ? std::exp(target) : target;
    const double logarithm = log_target ? target : std::log(target);
    sum += (w ? w[i] : 1.0) * (share == 0 ? 0 : share * (logarithm - x[i]));
  }
  return sum;
}

void kl_divergence_backward(int64_t n, const float* x, const float* t, const float* w,
                            bool log_target, float scale, float* dx, float* dt) {
  for (int64_t i = 0; i < n; ++i) {
    const double factor = scale * (w ? w[i] : 1.0), target = t[i];
    const double share = log_target ? std::exp(target) : target;
    const double difference = (log_target ? target : std::log(target)) - x[i] + 1;
    if (dx) dx[i] = static_cast<float>(-factor * share);
    if (dt) dt[i] = static_cast<float>(factor * difference * (log_target ? share : 1));
  }
}

double focal(int64_t n, const float* x, const float* t, const float* w, float alpha, float gamma) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i], target = t[i], p = 1 / (1 + std::exp(-v)), rest = 1 / (1 + std::exp(v));
    const double balance = alpha < 0 ? 1 : alpha * target + (1 - alpha) * (1 - target);
    const double entropy = relu(v) - v * target + std::log1p(std::exp(-std::fabs(v)));
    sum += (w ? w[i] : 1.0) * balance * std::pow(p * (1 - target) + rest * target, gamma) * entropy;
  }
  return sum;
}

void focal_backward(int64_t n, const float* x, const float* t, const float* w, float alpha,
                    float gamma, float scale, float* dx) {
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i], target = t[i], p = 1 / (1 + std::exp(-v)), rest = 1 / (1 + std::exp(v));
    const double balance = alpha < 0 ? 1 : alpha * target + (1 - alpha) * (1 - target);
    const double entropy = relu(v) - v * target + std::log1p(std::exp(-std::fabs(v)));
    const double q = p * (1 - target) + rest * target;
    const double ratio = q > 0 ? p * rest / q : 0;
    const double excess = p * (1 - target) - rest * target;  // p - t, exact where it is small
    const double slope = excess + gamma * (1 - 2 * target) * ratio * entropy;
    dx[i] = static_cast<float>(scale * (w ? w[i] : 1.0) * balance * std::pow(q, gamma) * slope);
  }
}

double focal_of_label(int64_t n, const float* p, const float* w, float gamma, float least,
                      float* slope) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double chance = p[i] < least ? least : p[i], miss = relu(1 - chance);
    const double power = std::pow(miss, gamma), logarithm = std::log(chance);
    sum -= w[i] * power * logarithm;
    const double ratio = miss > 0 ? chance * logarithm / miss : 0;
    slope[i] = static_cast<float>(w[i] * (power - gamma * power * ratio));
  }
  return sum;
}

// body(i, j): for each two neighbours.
template <class Body>
void for_each_pair(int64_t n, int64_t h, int64_t w, const Body& body) {
  for (int64_t i = 0; i < n * h * w; ++i) {
    if (i % w < w - 1) body(i, i + 1);
    if (i / w % h < h - 1) body(i, i + w);
  }
}

double variation(int64_t n, int64_t h, int64_t w, const float* x, bool squared) {
  double sum = 0;
  for_each_pair(n, h, w, [&](int64_t i, int64_t j) {
    const double d = static_cast<double>(x[j]) - x[i];
    sum += squared ? d * d : std::fabs(d);
  });
  return sum;
}

void variation_backward(int64_t n, int64_t h, int64_t w, const float* x, bool squared, float scale,
                        float* dx) {
  for (int64_t i = 0; i < n * h * w; ++i) dx[i] = 0;
  for_each_pair(n, h, w, [&](int64_t i, int64_t j) {
    const float d = x[j] - x[i], slope = scale * (squared ? 2 * d : d > 0 ? 1 : d < 0 ? -1 : 0);
    dx[i] -= slope;
    dx[j] += slope;
  });
}

}  // namespace

const LossKernels loss = {squared_distances,
                          scaled_differences,
                          hinge,
                          hinge_backward,
                          sigmoid_loss,
                          sigmoid_backward,
                          smooth_l1,
                          smooth_l1_backward,
                          dots,
                          combine_rows,
                          powers,
                          power_slopes,
                          kl_divergence,
                          kl_divergence_backward,
                          focal,
                          focal_backward,
                          focal_of_label,
                          variation,
                          variation_backward};

}  // namespace pydl::kernels::ref
