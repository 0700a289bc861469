// The definition of the vector kernels (eltwise.h): plain loops, sums in double.
#include "kernels/eltwise.h"

#include <cmath>

namespace pydl::kernels::ref {

extern const EltwiseKernels eltwise;

namespace {

void fill(int64_t n, float value, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = value;
}

void scale(int64_t n, float a, const float* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i];
}

void axpby(int64_t n, float a, const float* x, float b, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double old = b == 0 ? 0 : static_cast<double>(b) * y[i];
    y[i] = static_cast<float>(static_cast<double>(a) * x[i] + old);
  }
}

void add(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

void mul(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
}

void div(int64_t n, const float* a, const float* b, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] / b[i];
}

void max2(int64_t n, const float* a, const float* b, int32_t first, int32_t second, float* y,
          int32_t* index) {
  for (int64_t i = 0; i < n; ++i) {
    const bool is_first = a[i] > b[i];
    y[i] = is_first ? a[i] : b[i];
    index[i] = is_first ? first : second;
  }
}

void max_with(int64_t n, const float* x, int32_t which, float* y, int32_t* index) {
  for (int64_t i = 0; i < n; ++i) {
    if (!(x[i] > y[i])) continue;
    y[i] = x[i];
    index[i] = which;
  }
}

void select(int64_t n, const float* dy, const int32_t* index, int32_t which, float* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = index[i] == which ? dy[i] : 0;
}

double sum(int64_t n, const float* x) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

double asum(int64_t n, const float* x) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += std::fabs(x[i]);
  return total;
}

double dot(int64_t n, const float* a, const float* b) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

double sumsq(int64_t n, const float* x) { return dot(n, x, x); }

void affine_forward(int64_t outer, int64_t channels, int64_t inner, const float* x,
                    const float* scale, const float* bias, float* y) {
  for (int64_t i = 0; i < outer * channels * inner; ++i) {
    const int64_t c = i / inner % channels;
    const double a = scale ? scale[c] : 1, b = bias ? bias[c] : 0;
    y[i] = static_cast<float>(x[i] * a + b);
  }
}

void affine_backward_params(int64_t outer, int64_t channels, int64_t inner, const float* x,
                            const float* dy, float* dscale, float* dbias) {
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, product = 0;
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = (o * channels + c) * inner; i < (o * channels + c + 1) * inner; ++i) {
        sum += dy[i];
        if (dscale) product += static_cast<double>(dy[i]) * x[i];
      }
    }
    if (dscale) dscale[c] = static_cast<float>(dscale[c] + product);
    if (dbias) dbias[c] = static_cast<float>(dbias[c] + sum);
  }
}

void copy_rows(int64_t rows, int64_t row, const float* x, int64_t x_stride, float* y,
               int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < row; ++i) y[r * y_stride + i] = x[r * x_stride + i];
  }
}

void to_channels_last(int64_t n, int64_t c, int64_t s, const float* x, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) {
      for (int64_t k = 0; k < s; ++k) y[(i * s + k) * c + j] = x[(i * c + j) * s + k];
    }
  }
}

void to_plain(int64_t n, int64_t c, int64_t s, const float* x, float* y) {
  to_channels_last(n, s, c, x, y);
}

}  // namespace

const EltwiseKernels eltwise = {fill,
                                scale,
                                axpby,
                                add,
                                mul,
                                div,
                                max2,
                                max_with,
                                select,
                                sum,
                                asum,
                                sumsq,
                                dot,
                                affine_forward,
                                affine_backward_params,
                                copy_rows,
                                to_channels_last,
                                to_plain};

}  // namespace pydl::kernels::ref
