// The definition of batch normalisation (norm.h): plain loops, double accumulation.
#include "kernels/norm.h"

namespace pydl::kernels::ref {

extern const NormKernels norm;

namespace {

// The sum of value(i) over the elements of channel c.
template <class Value>
double channel_sum(const NormShape& s, int64_t c, const Value& value) {
  double sum = 0;
  for (int64_t o = 0; o < s.outer; ++o) {
    const int64_t first = (o * s.channels + c) * s.inner;
    for (int64_t i = first; i < first + s.inner; ++i) sum += value(i);
  }
  return sum;
}

template <class Body>
void for_each_of_channel(const NormShape& s, int64_t c, const Body& body) {
  channel_sum(s, c, [&](int64_t i) {
    body(i);
    return 0.0;
  });
}

void statistics(const NormShape& s, const float* x, float* mean, float* variance) {
  const double count = static_cast<double>(s.outer * s.inner);
  for (int64_t c = 0; c < s.channels; ++c) {
    const double m = channel_sum(s, c, [&](int64_t i) { return x[i]; }) / count;
    const double v = channel_sum(s, c, [&](int64_t i) { return (x[i] - m) * (x[i] - m); }) / count;
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
  const double count = static_cast<double>(s.outer * s.inner);
  for (int64_t c = 0; c < s.channels; ++c) {
    const double a = channel_sum(s, c, [&](int64_t i) { return dy[i]; }) / count;
    const double b =
        channel_sum(s, c, [&](int64_t i) { return static_cast<double>(dy[i]) * y[i]; }) / count;
    for_each_of_channel(s, c, [&](int64_t i) {
      dx[i] = static_cast<float>(inv_std[c] * (dy[i] - a - y[i] * b));
    });
  }
}

}  // namespace

const NormKernels norm = {statistics, normalize, backward};

}  // namespace pydl::kernels::ref
