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

// ---- with scale, bias, residual and ReLU ----

// factor[c] = scale[c] inv_std[c]
void factors(int64_t channels, const float* inv_std, const float* scale, float* factor) {
  for (int64_t c = 0; c < channels; ++c) factor[c] = scale[c] * inv_std[c];
}

// p: mean, factor, bias
template <bool kRelu, class T>
void forward_pass(const NormShape& s, const T* x, const Pointers<3>& p, const T* residual, T* y) {
  const auto affine = [](Vec v, const Vec* q) { return (v - q[0]) * q[1] + q[2]; };
  if (residual) {
    map_channels(channels_of(s), pointers(x, residual), p, y, [=](const Vec* v, const Vec* q) {
      const Vec out = affine(v[0], q) + v[1];
      return kRelu ? relu(out) : out;
    });
  } else {
    map_channels(channels_of(s), pointers(x), p, y, [=](const Vec* v, const Vec* q) {
      const Vec out = affine(v[0], q);
      return kRelu ? relu(out) : out;
    });
  }
}

template <class T>
void forward_fused(const NormShape& s, const T* x, const float* mean, const float* inv_std,
                   const float* scale, const float* bias, const T* residual, bool clip, T* y) {
  const Scratch factor(s.channels);
  factors(s.channels, inv_std, scale, factor.data());
  const auto p = pointers(mean, factor.data(), bias);
  clip ? forward_pass<true>(s, x, p, residual, y) : forward_pass<false>(s, x, p, residual, y);
}

// The gradient before ReLU, from dy, x, and y where that decides, with the parameters mean, factor
// and bias.
struct AllPass {
  PYDL_INLINE static Vec gradient(const Vec* v, const Vec*) { return v[0]; }
};
struct MaskByOutput {
  PYDL_INLINE static Vec gradient(const Vec* v, const Vec*) {
    return select(v[2] > 0.0f, v[0], Vec{});
  }
};
struct MaskByInput {
  PYDL_INLINE static Vec gradient(const Vec* v, const Vec* p) {
    return select((v[1] - p[0]) * p[1] + p[2] > 0.0f, v[0], Vec{});
  }
};

// What the passes of backward_fused have in common.
struct FusedBackward {
  Channels shape;
  const float *mean, *inv_std, *factor, *bias;
  float *dscale, *dbias;
};

// x: dy, x, and y for MaskByOutput. dx = factor g - b - d (x - mean), b = factor mean(g),
// d = factor inv_std mean(g xhat).
template <class Mask, int X, class T>
void backward_passes(const FusedBackward& f, Pointers<X, T> x, T* dx, T* dresidual) {
  const int64_t channels = f.shape.channels;
  const DoubleScratch sums(2 * channels);
  const auto add_up = [](const Vec* v, const Vec* p, Vec* sum) {
    const Vec g = Mask::gradient(v, p);
    sum[0] += g;
    sum[1] += g * (v[1] - p[0]);
    return g;
  };
  const auto p = pointers(f.mean, f.factor, f.bias);
  if (dresidual) {
    sum_channels<2>(f.shape, x, p, add_up, sums.data(), dresidual);
  } else {
    sum_channels<2>(
        f.shape, x, p, [=](const Vec* v, const Vec* q, Vec* sum) { add_up(v, q, sum); },
        sums.data());
  }
  const Scratch b(channels), d(channels);
  const double count = static_cast<double>(f.shape.outer * f.shape.inner);
  for (int64_t c = 0; c < channels; ++c) {
    const double g = sums.data()[c], product = sums.data()[channels + c] * f.inv_std[c];
    f.dbias[c] = static_cast<float>(f.dbias[c] + g);
    f.dscale[c] = static_cast<float>(f.dscale[c] + product);
    b.data()[c] = static_cast<float>(f.factor[c] * g / count);
    d.data()[c] = static_cast<float>(f.factor[c] * f.inv_std[c] * product / count);
  }
  const auto difference = [](Vec g, Vec v, const Vec* q) {
    return (q[1] * g - q[3]) - q[4] * (v - q[0]);
  };
  const auto q = pointers(f.mean, f.factor, f.bias, b.data(), d.data());
  if (dresidual) {
    map_channels(f.shape, Pointers<2, T>{{dresidual, x.p[1]}}, q, dx,
                 [=](const Vec* v, const Vec* r) { return difference(v[0], v[1], r); });
  } else {
    map_channels(f.shape, x, q, dx, [=](const Vec* v, const Vec* r) {
      return difference(Mask::gradient(v, r), v[1], r);
    });
  }
}

template <class T>
void backward_fused(const NormShape& s, const T* x, const float* mean, const float* inv_std,
                    const float* scale, const float* bias, bool relu, const T* y, const T* dy,
                    float* dscale, float* dbias, T* dx, T* dresidual) {
  const Scratch factor(s.channels);
  factors(s.channels, inv_std, scale, factor.data());
  const FusedBackward f{channels_of(s), mean, inv_std, factor.data(), bias, dscale, dbias};
  if (!relu) {
    backward_passes<AllPass>(f, pointers(dy, x), dx, dresidual);
  } else if (y) {
    backward_passes<MaskByOutput>(f, pointers(dy, x, y), dx, dresidual);
  } else {
    backward_passes<MaskByInput>(f, pointers(dy, x), dx, dresidual);
  }
}

}  // namespace

const NormKernels norm = {PYDL_TYPED(statistics), PYDL_TYPED(normalize), PYDL_TYPED(backward),
                          PYDL_TYPED(forward_fused), PYDL_TYPED(backward_fused)};

}  // namespace pydl::kernels::PYDL_ISA
