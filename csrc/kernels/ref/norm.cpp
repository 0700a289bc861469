// The definition of batch normalisation (norm.h): plain loops, double accumulation.
#include "kernels/norm.h"

#include <cmath>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const NormKernels norm;

namespace {

template <class Body>
void for_each_of_channel(const NormShape& s, int64_t c, const Body& body) {
  for (int64_t o = 0; o < s.outer; ++o) {
    const int64_t first = (o * s.channels + c) * s.inner;
    for (int64_t i = first; i < first + s.inner; ++i) body(i);
  }
}

// The mean of value(i) over the elements of channel c.
template <class Value>
double channel_mean(const NormShape& s, int64_t c, const Value& value) {
  double sum = 0;
  for_each_of_channel(s, c, [&](int64_t i) { sum += value(i); });
  return sum / static_cast<double>(s.outer * s.inner);
}

template <class T>
void statistics(const NormShape& s, const T* x, float* mean, float* variance) {
  for (int64_t c = 0; c < s.channels; ++c) {
    const double m = channel_mean(s, c, [&](int64_t i) { return x[i]; });
    const double v = channel_mean(s, c, [&](int64_t i) { return (x[i] - m) * (x[i] - m); });
    mean[c] = static_cast<float>(m);
    variance[c] = static_cast<float>(v);
  }
}

template <class T>
void normalize(const NormShape& s, const T* x, const float* mean, const float* inv_std, T* y) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for_each_of_channel(s, c, [&](int64_t i) { y[i] = (x[i] - mean[c]) * inv_std[c]; });
  }
}

template <class T>
void backward(const NormShape& s, const T* y, const float* inv_std, const T* dy, T* dx) {
  for (int64_t c = 0; c < s.channels; ++c) {
    const double a = channel_mean(s, c, [&](int64_t i) { return dy[i]; });
    const double b =
        channel_mean(s, c, [&](int64_t i) { return static_cast<double>(dy[i]) * y[i]; });
    for_each_of_channel(
        s, c, [&](int64_t i) { dx[i] = static_cast<float>(inv_std[c] * (dy[i] - a - y[i] * b)); });
  }
}

template <class T>
void forward_fused(const NormShape& s, const T* x, const float* mean, const float* inv_std,
                   const float* scale, const float* bias, const T* residual, bool relu, T* y) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for_each_of_channel(s, c, [&](int64_t i) {
      double value = (static_cast<double>(x[i]) - mean[c]) * inv_std[c] * scale[c] + bias[c];
      if (residual) {
        T scaled;
        scaled = static_cast<float>(value);
        value = static_cast<double>(scaled) + residual[i];
      }
      y[i] = static_cast<float>(relu && value < 0 ? 0 : value);
    });
  }
}

template <class T>
void backward_fused(const NormShape& s, const T* x, const float* mean, const float* inv_std,
                    const float* scale, const float* bias, bool relu, const T* y, const T* dy,
                    float* dscale, float* dbias, T* dx, T* dresidual) {
  const double count = static_cast<double>(s.outer * s.inner);
  for (int64_t c = 0; c < s.channels; ++c) {
    const auto xhat = [&](int64_t i) { return (static_cast<double>(x[i]) - mean[c]) * inv_std[c]; };
    const auto gradient = [&](int64_t i) {
      const double out = y ? y[i] : xhat(i) * scale[c] + bias[c];
      return relu && !(out > 0) ? 0.0f : static_cast<float>(dy[i]);
    };
    const double a = channel_mean(s, c, gradient);
    const double b = channel_mean(s, c, [&](int64_t i) { return gradient(i) * xhat(i); });
    dbias[c] = static_cast<float>(dbias[c] + a * count);
    dscale[c] = static_cast<float>(dscale[c] + b * count);
    for_each_of_channel(s, c, [&](int64_t i) {
      const float g = gradient(i);
      dx[i] = static_cast<float>(scale[c] * inv_std[c] * (g - a - xhat(i) * b));
      if (dresidual) dresidual[i] = g;
    });
  }
}

// The mean of value(i) over the elements of a row.
template <class Value>
double row_mean(int64_t n, int64_t row, const Value& value) {
  return channel_mean({1, row + 1, n}, row, value);
}

template <class T>
void normalize_rows(int64_t rows, int64_t n, bool variance, float eps, const T* x, float* scale,
                    T* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const double mean = row_mean(n, r, [&](int64_t i) { return x[i]; });
    const double square = row_mean(n, r, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
    const double factor = variance ? 1 / (std::sqrt(square) + eps) : 1;
    scale[r] = static_cast<float>(factor);
    for (int64_t i = r * n; i < (r + 1) * n; ++i) y[i] = static_cast<float>((x[i] - mean) * factor);
  }
}

template <class T>
void rows_backward(int64_t rows, int64_t n, bool variance, const T* y, const float* scale,
                   const T* dy, T* dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const double a = row_mean(n, r, [&](int64_t i) { return dy[i]; });
    const double b =
        variance ? row_mean(n, r, [&](int64_t i) { return static_cast<double>(dy[i]) * y[i]; }) : 0;
    const double factor = variance ? scale[r] : 1;
    for (int64_t i = r * n; i < (r + 1) * n; ++i) {
      dx[i] = static_cast<float>(factor * (dy[i] - a - (variance ? y[i] * b : 0)));
    }
  }
}

}  // namespace

const NormKernels norm = {PYDL_TYPED(statistics),     PYDL_TYPED(normalize),
                          PYDL_TYPED(backward),       PYDL_TYPED(forward_fused),
                          PYDL_TYPED(backward_fused), PYDL_TYPED(normalize_rows),
                          PYDL_TYPED(rows_backward)};

}  // namespace pydl::kernels::ref
