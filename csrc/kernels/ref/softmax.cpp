// The definition of softmax and the log loss (softmax.h): plain loops, double accumulation.
#include "kernels/softmax.h"

#include <cmath>

namespace pydl::kernels::ref {

extern const SoftmaxKernels softmax;

namespace {

// body(first): for each position, the index of its class 0; class k is s.inner * k further on.
template <class Body>
void for_each_position(const SoftmaxShape& s, const Body& body) {
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) body(o * s.classes * s.inner + i);
  }
}

void forward(const SoftmaxShape& s, const float* x, float* y) {
  for_each_position(s, [&](int64_t first) {
    const int64_t end = first + s.classes * s.inner;
    float most = -INFINITY;
    for (int64_t i = first; i < end; i += s.inner) most = x[i] > most ? x[i] : most;
    double sum = 0;
    for (int64_t i = first; i < end; i += s.inner)
      sum += std::exp(static_cast<double>(x[i]) - most);
    for (int64_t i = first; i < end; i += s.inner) {
      y[i] = static_cast<float>(std::exp(static_cast<double>(x[i]) - most) / sum);
    }
  });
}

void backward(const SoftmaxShape& s, const float* y, const float* dy, float* dx) {
  for_each_position(s, [&](int64_t first) {
    const int64_t end = first + s.classes * s.inner;
    double dot = 0;
    for (int64_t i = first; i < end; i += s.inner) dot += static_cast<double>(dy[i]) * y[i];
    for (int64_t i = first; i < end; i += s.inner) dx[i] = static_cast<float>(y[i] * (dy[i] - dot));
  });
}

double loss(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
            int ignore_label, float least, int64_t* valid) {
  double sum = 0;
  *valid = 0;
  for_each_position(s, [&](int64_t first) {
    const int k = static_cast<int>(*label++);
    if (has_ignore && k == ignore_label) return;
    const float q = p[first + k * s.inner];
    sum -= std::log(static_cast<double>(q < least ? least : q));
    ++*valid;
  });
  return sum;
}

void loss_backward(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                   int ignore_label, float scale, float* dx) {
  for_each_position(s, [&](int64_t first) {
    const int k = static_cast<int>(*label++);
    const bool ignored = has_ignore && k == ignore_label;
    for (int64_t j = 0; j < s.classes; ++j) {
      const int64_t i = first + j * s.inner;
      dx[i] = ignored ? 0 : scale * (p[i] - (j == k ? 1.0f : 0.0f));
    }
  });
}

// The probability expected of class k.
double expected(const SoftmaxShape& s, int label, int64_t k, float smoothing) {
  const double uniform = static_cast<double>(smoothing) / static_cast<double>(s.classes);
  return uniform + (k == label ? 1 - static_cast<double>(smoothing) : 0);
}

double smoothed_loss(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                     int ignore_label, const float* class_weight, const float* weight,
                     float smoothing, float least, int64_t* valid) {
  double sum = 0;
  *valid = 0;
  for_each_position(s, [&](int64_t first) {
    const int l = static_cast<int>(*label++);
    const double of_position = weight ? *weight++ : 1;
    if (has_ignore && l == ignore_label) return;
    const double w = (class_weight ? class_weight[l] : 1) * of_position;
    for (int64_t k = 0; k < s.classes; ++k) {
      const float q = p[first + k * s.inner];
      const double part = expected(s, l, k, smoothing);
      if (part != 0) sum -= w * part * std::log(static_cast<double>(q < least ? least : q));
    }
    *valid += of_position != 0;
  });
  return sum;
}

void smoothed_loss_backward(const SoftmaxShape& s, const float* p, const float* label,
                            bool has_ignore, int ignore_label, const float* class_weight,
                            const float* weight, float smoothing, float scale, float* dx) {
  for_each_position(s, [&](int64_t first) {
    const int l = static_cast<int>(*label++);
    const bool ignored = has_ignore && l == ignore_label;
    const double of_position = weight ? *weight++ : 1;
    const double w = (class_weight && !ignored ? class_weight[l] : 1) * of_position;
    for (int64_t k = 0; k < s.classes; ++k) {
      const int64_t i = first + k * s.inner;
      const double difference = p[i] - expected(s, l, k, smoothing);
      dx[i] = ignored ? 0 : static_cast<float>(scale * w * difference);
    }
  });
}

double soft_loss(const SoftmaxShape& s, const float* p, const float* t, float smoothing,
                 float least) {
  double sum = 0;
  const double uniform = static_cast<double>(smoothing) / static_cast<double>(s.classes);
  for (int64_t i = 0; i < s.outer * s.classes * s.inner; ++i) {
    const double q = (1 - static_cast<double>(smoothing)) * t[i] + uniform;
    sum -= q * std::log(static_cast<double>(p[i] < least ? least : p[i]));
  }
  return sum;
}

void soft_loss_backward(const SoftmaxShape& s, const float* p, const float* t, float smoothing,
                        float scale, float* dx) {
  const double uniform = static_cast<double>(smoothing) / static_cast<double>(s.classes);
  for_each_position(s, [&](int64_t first) {
    const auto q = [&](int64_t i) { return (1 - static_cast<double>(smoothing)) * t[i] + uniform; };
    const int64_t end = first + s.classes * s.inner;
    double sum = 0;
    for (int64_t i = first; i < end; i += s.inner) sum += q(i);
    for (int64_t i = first; i < end; i += s.inner) {
      dx[i] = static_cast<float>(scale * (p[i] * sum - q(i)));
    }
  });
}

void pick(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
          int ignore_label, float* out) {
  for_each_position(s, [&](int64_t first) {
    const int l = static_cast<int>(*label++);
    *out++ = has_ignore && l == ignore_label ? 1 : p[first + l * s.inner];
  });
}

void weighted_backward(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                       int ignore_label, const float* weight, float scale, float* dx) {
  for_each_position(s, [&](int64_t first) {
    const int l = static_cast<int>(*label++);
    const double by = has_ignore && l == ignore_label ? 0 : static_cast<double>(scale) * *weight;
    ++weight;
    for (int64_t k = 0; k < s.classes; ++k) {
      const int64_t i = first + k * s.inner;
      dx[i] = static_cast<float>(by * (p[i] - (k == l ? 1 : 0)));
    }
  });
}

double infogain(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                int ignore_label, const float* weights, float least, int64_t* valid) {
  double sum = 0;
  *valid = 0;
  for_each_position(s, [&](int64_t first) {
    const int k = static_cast<int>(*label++);
    if (has_ignore && k == ignore_label) return;
    for (int64_t j = 0; j < s.classes; ++j) {
      const float q = p[first + j * s.inner];
      sum -= weights[k * s.classes + j] * std::log(static_cast<double>(q < least ? least : q));
    }
    ++*valid;
  });
  return sum;
}

void infogain_backward(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                       int ignore_label, const float* weights, const float* sums, float scale,
                       float* dx) {
  for_each_position(s, [&](int64_t first) {
    const int k = static_cast<int>(*label++);
    const bool ignored = has_ignore && k == ignore_label;
    for (int64_t j = 0; j < s.classes; ++j) {
      const int64_t i = first + j * s.inner;
      dx[i] = ignored ? 0 : scale * (p[i] * sums[k] - weights[k * s.classes + j]);
    }
  });
}

}  // namespace

const SoftmaxKernels softmax = {
    forward,   backward,           loss, loss_backward,     smoothed_loss, smoothed_loss_backward,
    soft_loss, soft_loss_backward, pick, weighted_backward, infogain,      infogain_backward};

}  // namespace pydl::kernels::ref
