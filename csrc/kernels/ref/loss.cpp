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

}  // namespace

const LossKernels loss = {squared_distances, scaled_differences, hinge,     hinge_backward,
                          sigmoid_loss,      sigmoid_backward,   smooth_l1, smooth_l1_backward};

}  // namespace pydl::kernels::ref
