// The definition of embed.h: plain loops, double accumulation.
#include "kernels/embed.h"

#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const EmbedKernels embed;

namespace {

template <class T>
void gather(int64_t count, int64_t, int64_t size, const float* index, const float* w,
            const float* bias, T* y) {
  for (int64_t n = 0; n < count; ++n) {
    const float* row = w + static_cast<int64_t>(index[n]) * size;
    for (int64_t j = 0; j < size; ++j) y[n * size + j] = bias ? row[j] + bias[j] : row[j];
  }
}

template <class T>
void scatter_add(int64_t count, int64_t rows, int64_t size, const float* index, const T* dy,
                 float* dw) {
  std::vector<double> sum(dw, dw + rows * size);
  for (int64_t n = 0; n < count; ++n) {
    const int64_t row = static_cast<int64_t>(index[n]);
    for (int64_t j = 0; j < size; ++j) sum[row * size + j] += dy[n * size + j];
  }
  for (int64_t i = 0; i < rows * size; ++i) dw[i] = static_cast<float>(sum[i]);
}

}  // namespace

const EmbedKernels embed = {PYDL_TYPED(gather), PYDL_TYPED(scatter_add)};

}  // namespace pydl::kernels::ref
