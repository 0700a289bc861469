// Batch normalisation (norm.h).
#include "kernels/norm.h"

#include "kernels/cpu/channels.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const NormKernels norm;

namespace {

Channels channels_of(const NormShape& s) { return {s.outer, s.channels, s.inner}; }

// shift[c]: the mean of a few values spread over the channel.
template <class T>
void sample_means(const NormShape& s, const T* x, float* shift) {
  const int64_t count = s.outer * s.inner, samples = smaller(count, 16);
  parallel_for(s.channels, items_worth(kGrain, 16 * samples), [=](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) shift[c] = 0;
    for (int64_t k = 0; k < samples; ++k) {
      const int64_t at = k * (count / samples);
      const T* from = x + at / s.inner * s.channels * s.inner + at % s.inner;
      for (int64_t c = begin; c < end; ++c) shift[c] += from[c * s.inner];
    }
    for (int64_t c = begin; c < end; ++c) shift[c] /= static_cast<float>(samples);
  });
}

// One pass over x: the sums of d and d^2, d = x - shift. Near the mean the shift leaves nothing to
// cancel in E[d^2] - E[d]^2 (Chan, Golub & LeVeque 1983).
template <class T>
void statistics(const NormShape& s, const T* x, float* mean, float* variance) {
  const Scratch shift(s.channels);
  const DoubleScratch sums(2 * s.channels);
  sample_means(s, x, shift.data());
  sum_channels<2>(
      channels_of(s), pointers(x), pointers(shift.data()),
      [](const Vec* v, const Vec* p, Vec* sum) {
        const Vec d = v[0] - p[0];
        sum[0] += d;
        sum[1] += d * d;
      },
      sums.data());
  const double count = static_cast<double>(s.outer * s.inner);
  for (int64_t c = 0; c < s.channels; ++c) {
    const double d = sums.data()[c] / count;
    const double square = sums.data()[s.channels + c] / count - d * d;
    mean[c] = static_cast<float>(shift.data()[c] + d);
    variance[c] = static_cast<float>(square < 0 ? 0 : square);
  }
}

template <class T>
void normalize(const NormShape& s, const T* x, const float* mean, const float* inv_std, T* y) {
  map_channels(channels_of(s), pointers(x), pointers(mean, inv_std), y,
               [](const Vec* v, const Vec* p) { return (v[0] - p[0]) * p[1]; });
}

template <class T>
void backward(const NormShape& s, const T* y, const float* inv_std, const T* dy, T* dx) {
  const DoubleScratch sums(2 * s.channels);
  const Scratch means(2 * s.channels);
  sum_channels<2>(
      channels_of(s), pointers(dy, y), Pointers<0>{},
      [](const Vec* v, const Vec*, Vec* sum) {
        sum[0] += v[0];
        sum[1] += v[0] * v[1];
      },
      sums.data());
  const double count = static_cast<double>(s.outer * s.inner);
  for (int64_t i = 0; i < 2 * s.channels; ++i) {
    means.data()[i] = static_cast<float>(sums.data()[i] / count);
  }
  map_channels(channels_of(s), pointers(dy, y),
               pointers(inv_std, means.data(), means.data() + s.channels), dx,
               [](const Vec* v, const Vec* p) { return p[0] * (v[0] - p[1] - v[1] * p[2]); });
}

}  // namespace

const NormKernels norm = {PYDL_TYPED(statistics), PYDL_TYPED(normalize), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::PYDL_ISA
