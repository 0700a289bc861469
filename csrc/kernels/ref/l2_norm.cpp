// The definition of the L2 normalisation (l2_norm.h): plain loops, sums in double.
#include "kernels/l2_norm.h"

#include <cmath>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const L2NormKernels l2_norm;

namespace {

template <class T>
void forward(const L2NormShape& s, const T* x, float eps, const float* scale, float factor,
             float* norm, T* y) {
  const int64_t n = s.positions * s.channels;
  for (int64_t r = 0; r < s.rows; ++r) {
    double sum = eps;
    for (int64_t i = r * n; i < (r + 1) * n; ++i) sum += static_cast<double>(x[i]) * x[i];
    norm[r] = static_cast<float>(std::sqrt(sum));
    for (int64_t i = r * n; i < (r + 1) * n; ++i) {
      y[i] = static_cast<float>(factor * (x[i] / std::sqrt(sum) * scale[i % s.channels]));
    }
  }
}

template <class T>
void backward(const L2NormShape& s, const T* x, const float* scale, float factor, const float* norm,
              const T* dy, T* dx, float* dscale) {
  const int64_t n = s.positions * s.channels;
  std::vector<double> sums(static_cast<size_t>(s.channels));
  for (int64_t r = 0; r < s.rows; ++r) {
    double sum = 0;
    for (int64_t i = r * n; i < (r + 1) * n; ++i) {
      const double product = static_cast<double>(dy[i]) * x[i];
      sums[static_cast<size_t>(i % s.channels)] += product / norm[r];
      sum += product * scale[i % s.channels];
    }
    const float dot = static_cast<float>(sum), square = norm[r] * norm[r];
    for (int64_t i = r * n; dx && i < (r + 1) * n; ++i) {
      const float g = dy[i] * scale[i % s.channels], along = x[i] * dot / square;
      dx[i] = factor * ((g - along) / norm[r]);
    }
  }
  for (int64_t c = 0; dscale && c < s.channels; ++c) {
    dscale[c] = static_cast<float>(dscale[c] + sums[static_cast<size_t>(c)]);
  }
}

}  // namespace

const L2NormKernels l2_norm = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::ref
