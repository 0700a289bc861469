// The definition of batch normalisation (norm.h): plain loops, double accumulation.
#include "kernels/norm.h"

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

void statistics(const NormShape& s, const float* x, float* mean, float* variance) {
  for (int64_t c = 0; c < s.channels; ++c) {
    const double m = channel_mean(s, c, [&](int64_t i) { return x[i]; });
    const double v = channel_mean(s, c, [&](int64_t i) { return (x[i] - m) * (x[i] - m); });
    mean[c] = static_cast<float>(m);
    variance[c] = static_cast<float>(v);
  }
}

void normalize(const NormShape& s, const float* x, const float* mean, const float* inv_std,
               float* y) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for_each_of_channel(s, c, [&](int64_t i) { y[i] = (x[i] - mean[c]) * inv_std[c]; });
  }
}

void backward(const NormShape& s, const float* y, const float* inv_std, const float* dy,
              float* dx) {
  for (int64_t c = 0; c < s.channels; ++c) {
    const double a = channel_mean(s, c, [&](int64_t i) { return dy[i]; });
    const double b =
        channel_mean(s, c, [&](int64_t i) { return static_cast<double>(dy[i]) * y[i]; });
    for_each_of_channel(
        s, c, [&](int64_t i) { dx[i] = static_cast<float>(inv_std[c] * (dy[i] - a - y[i] * b)); });
  }
}

}  // namespace

const NormKernels norm = {statistics, normalize, backward};

}  // namespace pydl::kernels::ref
