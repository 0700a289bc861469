// The definition of batch normalisation (norm.h): plain loops, double accumulation.
#include "kernels/norm.h"

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

}  // namespace

const NormKernels norm = {PYDL_TYPED(statistics), PYDL_TYPED(normalize), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::ref
