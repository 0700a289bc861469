// Batch normalisation, and that of rows (norm.h).
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

// What ReLU leaves alone: what is not below.
float relu_floor(bool relu) { return relu ? 0 : -__builtin_inff(); }

template <class T>
void forward_fused(const NormShape& s, const T* x, const float* mean, const float* inv_std,
                   const float* scale, const float* bias, const T* residual, bool relu, T* y) {
  const Scratch factor(s.channels);
  factors(s.channels, inv_std, scale, factor.data());
  const auto p = pointers(mean, factor.data(), bias);
  const float floor = relu_floor(relu);
  const auto scaled = [](Vec v, const Vec* q) { return (v - q[0]) * q[1] + q[2]; };
  const auto rectified = [=](Vec v) { return select(v < floor, broadcast(floor), v); };
  if (residual) {
    map_channels(channels_of(s), pointers(x, residual), p, y, [=](const Vec* v, const Vec* q) {
      return rectified(rounded<T>(scaled(v[0], q)) + v[1]);
    });
  } else {
    map_channels(channels_of(s), pointers(x), p, y,
                 [=](const Vec* v, const Vec* q) { return rectified(scaled(v[0], q)); });
  }
}

// The gradient before ReLU, from dy, x, and the output; p: mean, factor and bias.
struct MaskByOutput {
  float floor;
  PYDL_INLINE Vec gradient(const Vec* v, const Vec*) const {
    return select(v[2] > floor, v[0], Vec{});
  }
};
// Where the output is not kept.
struct MaskByInput {
  float floor;
  PYDL_INLINE Vec gradient(const Vec* v, const Vec* p) const {
    return select((v[1] - p[0]) * p[1] + p[2] > floor, v[0], Vec{});
  }
};

// What the two passes of backward_fused have in common. dx = factor g - b - d (x - mean),
// b = factor mean(g), d = factor inv_std mean(g xhat).
class FusedBackward {
 public:
  FusedBackward(const NormShape& s, const float* mean, const float* inv_std, const float* scale,
                const float* bias)
      : shape_(channels_of(s)),
        mean_(mean),
        inv_std_(inv_std),
        bias_(bias),
        sums_(2 * s.channels),
        factor_(s.channels),
        b_(s.channels),
        d_(s.channels) {
    factors(s.channels, inv_std, scale, factor_.data());
  }

  // x: dy, x, and the output for MaskByOutput.
  template <class Mask, int X, class T>
  void sum(const Mask& mask, const Pointers<X, T>& x) const {
    sum_channels<2>(
        shape_, x, pointers(mean_, factor_.data(), bias_),
        [=](const Vec* v, const Vec* p, Vec* sum) { add_up(mask.gradient(v, p), v, p, sum); },
        sums_.data());
  }
  template <class Mask, int X, class T>
  void sum_and_store(const Mask& mask, const Pointers<X, T>& x, T* g) const {
    sum_channels<2>(
        shape_, x, pointers(mean_, factor_.data(), bias_),
        [=](const Vec* v, const Vec* p, Vec* sum) {
          const Vec gradient = mask.gradient(v, p);
          add_up(gradient, v, p, sum);
          return gradient;
        },
        sums_.data(), g);
  }

  void parameters(float* dscale, float* dbias) const {
    const double count = static_cast<double>(shape_.outer * shape_.inner);
    const double *g = sums_.data(), *product = g + shape_.channels;
    for (int64_t c = 0; c < shape_.channels; ++c) {
      const double of_xhat = product[c] * inv_std_[c];
      dbias[c] = static_cast<float>(dbias[c] + g[c]);
      dscale[c] = static_cast<float>(dscale[c] + of_xhat);
      b_.data()[c] = static_cast<float>(factor_.data()[c] * g[c] / count);
      d_.data()[c] = static_cast<float>(factor_.data()[c] * inv_std_[c] * of_xhat / count);
    }
  }

  // gradient(v, p): g.
  template <class Gradient, int X, class T>
  void input(const Gradient& gradient, const Pointers<X, T>& x, T* dx) const {
    map_channels(shape_, x, pointers(mean_, factor_.data(), bias_, b_.data(), d_.data()), dx,
                 [=](const Vec* v, const Vec* p) {
                   return (p[1] * gradient(v, p) - p[3]) - p[4] * (v[1] - p[0]);
                 });
  }

 private:
  PYDL_INLINE static void add_up(Vec g, const Vec* v, const Vec* p, Vec* sum) {
    sum[0] += g;
    sum[1] += g * (v[1] - p[0]);
  }

  Channels shape_;
  const float *mean_, *inv_std_, *bias_;
  DoubleScratch sums_;
  Scratch factor_, b_, d_;
};

template <class Mask, int X, class T>
void backward_passes(const FusedBackward& f, const Mask& mask, const Pointers<X, T>& x,
                     float* dscale, float* dbias, T* dx) {
  f.sum(mask, x);
  f.parameters(dscale, dbias);
  f.input([=](const Vec* v, const Vec* p) { return mask.gradient(v, p); }, x, dx);
}

template <class T>
void backward_fused(const NormShape& s, const T* x, const float* mean, const float* inv_std,
                    const float* scale, const float* bias, bool relu, const T* y, const T* dy,
                    float* dscale, float* dbias, T* dx, T* dresidual) {
  const FusedBackward f(s, mean, inv_std, scale, bias);
  const float floor = relu_floor(relu);
  if (dresidual) {  // the second pass reads g there
    f.sum_and_store(MaskByOutput{floor}, pointers(dy, x, relu ? y : x), dresidual);
    f.parameters(dscale, dbias);
    f.input([](const Vec* v, const Vec*) { return v[0]; }, Pointers<2, T>{{dresidual, x}}, dx);
  } else if (relu && y) {
    backward_passes(f, MaskByOutput{floor}, pointers(dy, x, y), dscale, dbias, dx);
  } else {
    backward_passes(f, MaskByInput{floor}, pointers(dy, x), dscale, dbias, dx);
  }
}

// ---- rows ----

// The mean of (x - mean)^2 over a row, in a pass of its own.
template <class T>
double row_variance(int64_t n, const T* x, Vec mean) {
  double total[1] = {0};
  sum_run<1>(
      n, pointers(x), 0, Vectors<1>{{mean}},
      [](const Vec* v, const Vec* p, Vec* sum) { sum[0] += (v[0] - p[0]) * (v[0] - p[0]); }, total);
  return total[0] / static_cast<double>(n);
}

// Sums are of the distance d from the first value and of its square: 0 where all are equal, and
// mostly with little to cancel in E[d^2] - E[d]^2. Where there is more, squares are summed again.
template <class T>
void normalize_rows(int64_t rows, int64_t n, bool variance, float eps, const T* x, float* scale,
                    T* y) {
  const auto count = static_cast<double>(n);
  parallel_for(rows, items_worth(kGrain, n), [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * n;
      const float first = from[0];
      double sums[2] = {0, 0};
      sum_run<2>(
          n, pointers(from), 0, Vectors<1>{{broadcast(first)}},
          [](const Vec* v, const Vec* p, Vec* sum) {
            const Vec d = v[0] - p[0];
            sum[0] += d;
            sum[1] += d * d;
          },
          sums);
      const double d = sums[0] / count;
      const Vec mean = broadcast(static_cast<float>(first + d));
      float factor = 1;
      if (variance) {
        double square = sums[1] / count - d * d;
        if (d * d > 16 * square) square = row_variance(n, from, mean);
        factor = 1 / (static_cast<float>(__builtin_sqrt(square)) + eps);
      }
      scale[r] = factor;
      for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
        store_some(y + r * n + i, (load_some(from + i, lanes) - mean) * factor, lanes);
      });
    }
  });
}

template <class T>
void rows_backward(int64_t rows, int64_t n, bool variance, const T* y, const float* scale,
                   const T* dy, T* dx) {
  const auto count = static_cast<double>(n);
  parallel_for(rows, items_worth(kGrain, n), [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t r = begin; r < end; ++r) {
      const T *gradient = dy + r * n, *value = y + r * n;
      T* to = dx + r * n;
      if (!variance) {
        double sum[1] = {0};
        sum_run<1>(
            n, pointers(gradient), 0, Vectors<0>{},
            [](const Vec* v, const Vec*, Vec* total) { total[0] += v[0]; }, sum);
        const Vec mean = broadcast(static_cast<float>(sum[0] / count));
        for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
          store_some(to + i, load_some(gradient + i, lanes) - mean, lanes);
        });
        continue;
      }
      double sums[2] = {0, 0};
      sum_run<2>(
          n, pointers(gradient, value), 0, Vectors<0>{},
          [](const Vec* v, const Vec*, Vec* sum) {
            sum[0] += v[0];
            sum[1] += v[0] * v[1];
          },
          sums);
      const Vec a = broadcast(static_cast<float>(sums[0] / count));
      const Vec b = broadcast(static_cast<float>(sums[1] / count));
      for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
        const Vec d = load_some(gradient + i, lanes) - a - load_some(value + i, lanes) * b;
        store_some(to + i, scale[r] * d, lanes);
      });
    }
  });
}

}  // namespace

const NormKernels norm = {PYDL_TYPED(statistics),     PYDL_TYPED(normalize),
                          PYDL_TYPED(backward),       PYDL_TYPED(forward_fused),
                          PYDL_TYPED(backward_fused), PYDL_TYPED(normalize_rows),
                          PYDL_TYPED(rows_backward)};

}  // namespace pydl::kernels::PYDL_ISA
