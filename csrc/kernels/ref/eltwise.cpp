// The definition of the vector kernels (eltwise.h): plain loops, sums in double.
#include "kernels/eltwise.h"

#include <cmath>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const EltwiseKernels eltwise;

namespace {

template <class T>
void fill(int64_t n, float value, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = value;
}

template <class T>
void scale(int64_t n, float a, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i];
}

template <class T>
void axpby(int64_t n, float a, const T* x, float b, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double old = b == 0 ? 0 : static_cast<double>(b) * y[i];
    y[i] = static_cast<float>(static_cast<double>(a) * x[i] + old);
  }
}

template <class T>
void add(int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

template <class T>
void add_relu(int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float sum = a[i] + b[i];
    y[i] = sum < 0 ? 0 : sum;
  }
}

template <class T>
void mul(int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
}

template <class T>
void div(int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] / b[i];
}

template <class T>
void max2(int64_t n, const T* a, const T* b, int32_t first, int32_t second, T* y, int32_t* index) {
  for (int64_t i = 0; i < n; ++i) {
    const bool is_first = a[i] > b[i];
    y[i] = is_first ? a[i] : b[i];
    index[i] = is_first ? first : second;
  }
}

template <class T>
void max_with(int64_t n, const T* x, int32_t which, T* y, int32_t* index) {
  for (int64_t i = 0; i < n; ++i) {
    if (!(x[i] > y[i])) continue;
    y[i] = x[i];
    index[i] = which;
  }
}

template <class T>
void select(int64_t n, const T* dy, const int32_t* index, int32_t which, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = index[i] == which ? dy[i] : 0.0f;
}

template <class T>
double sum(int64_t n, const T* x) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

template <class T>
double asum(int64_t n, const T* x) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += std::fabs(x[i]);
  return total;
}

template <class T>
double dot(int64_t n, const T* a, const T* b) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

template <class T>
double sumsq(int64_t n, const T* x) {
  return dot(n, x, x);
}

template <class T>
void affine_forward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* scale,
                    const float* bias, T* y) {
  for (int64_t i = 0; i < outer * channels * inner; ++i) {
    const int64_t c = i / inner % channels;
    const double a = scale ? scale[c] : 1, b = bias ? bias[c] : 0;
    y[i] = static_cast<float>(x[i] * a + b);
  }
}

template <class T>
void multiply_add(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* scale,
                  const T* z, T* y) {
  for (int64_t i = 0; i < outer * channels * inner; ++i) {
    y[i] = static_cast<float>(static_cast<double>(x[i]) * scale[i / inner % channels] + z[i]);
  }
}

template <class T>
void affine_backward_params(int64_t outer, int64_t channels, int64_t inner, const T* x, const T* dy,
                            float* dscale, float* dbias) {
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

template <class T>
void copy_rows(int64_t rows, int64_t row, const T* x, int64_t x_stride, T* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < row; ++i) y[r * y_stride + i] = x[r * x_stride + i];
  }
}

template <class T>
void to_channels_last(int64_t n, int64_t c, int64_t s, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) {
      for (int64_t k = 0; k < s; ++k) y[(i * s + k) * c + j] = x[(i * c + j) * s + k];
    }
  }
}

template <class T>
void to_plain(int64_t n, int64_t c, int64_t s, const T* x, T* y) {
  to_channels_last(n, s, c, x, y);
}

void convert(int64_t n, ConstArray x, Array y) {
  with_type(x, [=](const auto* from) {
    with_type(y, [=](auto* to) {
      for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
    });
  });
}

}  // namespace

const EltwiseKernels eltwise = {PYDL_TYPED(fill),
                                PYDL_TYPED(scale),
                                PYDL_TYPED(axpby),
                                PYDL_TYPED(add),
                                PYDL_TYPED(add_relu),
                                PYDL_TYPED(mul),
                                PYDL_TYPED(div),
                                PYDL_TYPED(max2),
                                PYDL_TYPED(max_with),
                                PYDL_TYPED(select),
                                PYDL_TYPED(sum),
                                PYDL_TYPED(asum),
                                PYDL_TYPED(sumsq),
                                PYDL_TYPED(dot),
                                PYDL_TYPED(affine_forward),
                                PYDL_TYPED(multiply_add),
                                PYDL_TYPED(affine_backward_params),
                                PYDL_TYPED(copy_rows),
                                PYDL_TYPED(to_channels_last),
                                PYDL_TYPED(to_plain),
                                convert};

}  // namespace pydl::kernels::ref
