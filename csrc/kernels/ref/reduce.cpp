// The definition of reduce.h: plain loops, double accumulation.
#include "kernels/reduce.h"

#include <cmath>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const ReduceKernels reduce;

namespace {

template <class Term>
void sum_rows(int64_t rows, int64_t n, float factor, const float* x, float* y, const Term& term) {
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += term(static_cast<double>(x[r * n + i]));
    y[r] = static_cast<float>(factor * total);
  }
}

void sum(int64_t rows, int64_t n, float factor, const float* x, float* y) {
  sum_rows(rows, n, factor, x, y, [](double v) { return v; });
}

void asum(int64_t rows, int64_t n, float factor, const float* x, float* y) {
  sum_rows(rows, n, factor, x, y, [](double v) { return std::fabs(v); });
}

void sumsq(int64_t rows, int64_t n, float factor, const float* x, float* y) {
  sum_rows(rows, n, factor, x, y, [](double v) { return v * v; });
}

void sum_backward(int64_t rows, int64_t n, const float* factor, float* dx) {
  for (int64_t i = 0; i < rows * n; ++i) dx[i] = factor[i / n];
}

void asum_backward(int64_t rows, int64_t n, const float* factor, const float* x, float* dx) {
  for (int64_t i = 0; i < rows * n; ++i) {
    dx[i] = factor[i / n] * static_cast<float>((x[i] > 0) - (x[i] < 0));
  }
}

void sumsq_backward(int64_t rows, int64_t n, const float* factor, const float* x, float* dx) {
  for (int64_t i = 0; i < rows * n; ++i) dx[i] = 2 * factor[i / n] * x[i];
}

template <class T>
void sum_middle(int64_t outer, int64_t n, int64_t inner, const T* x, T* y) {
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      double total = 0;
      for (int64_t j = 0; j < n; ++j) total += x[(o * n + j) * inner + i];
      y[o * inner + i] = static_cast<float>(total);
    }
  }
}

}  // namespace

const ReduceKernels reduce = {
    sum, asum, sumsq, sum_backward, asum_backward, sumsq_backward, PYDL_TYPED(sum_middle)};

}  // namespace pydl::kernels::ref
