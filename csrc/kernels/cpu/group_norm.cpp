// Normalisation of groups of channels (group_norm.h). What shares statistics is taken as a unit: a
// group of an image or, channels-last, the image. A unit is read from memory once, where a cache
// can hold it, as its statistics and what follows them are one thread's work.
#include "kernels/group_norm.h"

#include "kernels/cpu/channels.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const GroupNormKernels group_norm;

namespace {

// Units shared out to the threads, or, where these are more, the parts of each unit.
class Units {
 public:
  Units(int64_t units, int64_t size) : units_(units), split_(units < num_threads()) {
    const int64_t most = larger(1, units * size / kGrain);
    threads_ = split_ ? 1 : static_cast<int>(smaller(most, num_threads()));
  }
  int threads() const { return threads_; }

  // body(unit, thread)
  template <class Body>
  void run(const Body& body) const {
    parallel(threads_, [&](int thread, int parts) {
      const Range r = part_of(units_, thread, parts);
      for (int64_t u = r.begin; u < r.end; ++u) body(u, thread);
    });
  }
  // body(begin, end) over `parts` of a unit, of so many values each.
  template <class Body>
  PYDL_INLINE void each(int64_t parts, int64_t size, const Body& body) const {
    if (split_) return parallel_for(parts, items_worth(kGrain, size), body);
    body(0, parts);
  }

 private:
  int64_t units_;
  bool split_;
  int threads_;
};

// Whether squares of the distance d from the shift leave too little of the variance.
constexpr bool cancels(double d, double variance) { return d * d > 64 * variance; }

struct AddMoments {
  PYDL_INLINE void operator()(const Vec* v, const Vec* p, Vec* sum) const {
    const Vec d = v[0] - p[0];
    sum[0] += d;
    sum[1] += d * d;
  }
};
// v: dy, x; p: the mean.
struct AddProducts {
  PYDL_INLINE void operator()(const Vec* v, const Vec* p, Vec* sum) const {
    sum[0] += v[0];
    sum[1] += v[0] * (v[1] - p[0]);
  }
};

// y = (x - p0) p1 + p2
struct Normalize {
  PYDL_INLINE Vec operator()(const Vec* v, const Vec* p) const {
    return (v[0] - p[0]) * p[1] + p[2];
  }
};
// dx = p1 dy - p2 - p3 (x - p0), and what dx holds where that is to be added to.
struct Gradient {
  bool add;
  PYDL_INLINE Vec operator()(const Vec* v, const Vec* p) const {
    const Vec d = p[1] * v[0] - p[2] - p[3] * (v[1] - p[0]);
    return add ? d + v[2] : d;
  }
};

// Of a group: mean and biased variance from those of its channels, or of one run.
class Pooled {
 public:
  void add(double mean, double variance) {
    ++count_;
    const double d = mean - mean_;  // Welford's update
    mean_ += d / count_;
    square_ += d * (mean - mean_);
    variance_ += variance;
  }
  float mean() const { return static_cast<float>(mean_); }
  float rstd(float eps) const {
    return static_cast<float>(1 / __builtin_sqrt((variance_ + square_) / count_ + eps));
  }

 private:
  double count_ = 0, mean_ = 0, square_ = 0, variance_ = 0;
};

// ---- plain: a channel is a run of positions ----

constexpr int64_t kPiece = kGrain;

// K sums over a run of n values; `parts` has room for K in each piece.
template <int K, int X, class T, class F>
PYDL_INLINE void sum_pieces(const Units& units, int64_t n, const Pointers<X, T>& x, int64_t first,
                            float shift, const F& f, double* parts, double (&total)[K]) {
  const int64_t pieces = ceil_div(n, kPiece);
  units.each(pieces, smaller(n, kPiece), [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t piece = begin; piece < end; ++piece) {
      double sums[K] = {};
      const int64_t at = piece * kPiece;
      sum_run<K>(smaller(kPiece, n - at), x, first + at, Vectors<1>{{broadcast(shift)}}, f, sums);
      for (int k = 0; k < K; ++k) parts[piece * K + k] = sums[k];
    }
  });
  for (int k = 0; k < K; ++k) total[k] = 0;
  for (int64_t i = 0; i < pieces * K; ++i) total[i % K] += parts[i];
}

template <class T>
Pooled moments_of_run(const Units& units, int64_t n, const T* x, double* parts) {
  double shift = static_cast<float>(x[0]), d = 0, variance = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    double total[2];
    sum_pieces<2>(units, n, pointers(x), 0, static_cast<float>(shift), AddMoments(), parts, total);
    d = total[0] / static_cast<double>(n);
    variance = total[1] / static_cast<double>(n) - d * d;
    if (!cancels(d, variance)) break;
    if (attempt == 0) shift = static_cast<float>(shift + d);
  }
  Pooled out;
  out.add(shift + d, variance < 0 ? 0 : variance);
  return out;
}

template <class T>
void forward_plain(const GroupNormShape& s, float eps, const T* x, const float* gamma,
                   const float* beta, float* mean, float* rstd, T* y) {
  const int64_t per_group = s.channels / s.groups, size = per_group * s.inner;
  const Units units(s.n * s.groups, size);
  const int64_t width = 2 * ceil_div(size, kPiece);
  const DoubleScratch parts(units.threads() * width);
  units.run([&](int64_t u, int thread) {
    const T* from = x + u * size;
    const Pooled moments = moments_of_run(units, size, from, parts.data() + thread * width);
    mean[u] = moments.mean();
    rstd[u] = moments.rstd(eps);
    units.each(per_group, s.inner, [&, u](int64_t begin, int64_t end) PYDL_FLATTEN {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t c = u % s.groups * per_group + i;
        const Vec p[] = {broadcast(mean[u]), broadcast(rstd[u] * (gamma ? gamma[c] : 1)),
                         broadcast(beta ? beta[c] : 0)};
        for_each_vector(i * s.inner, (i + 1) * s.inner, [&](int64_t at, int64_t lanes) {
          const Vec v = load_some(from + at, lanes);
          store_some(y + u * size + at, Normalize()(&v, p), lanes);
        });
      }
    });
  });
}

// sums: (n, 2, channels), of each channel of an image those of dy and dy (x - mean).
template <class T>
void backward_plain(const GroupNormShape& s, const T* x, const float* gamma, const float* mean,
                    const float* rstd, const T* dy, bool add, double* sums, T* dx) {
  const int64_t per_group = s.channels / s.groups, size = per_group * s.inner;
  const Units units(s.n * s.groups, size);
  units.run([&](int64_t u, int) {
    const int64_t c0 = u % s.groups * per_group;
    double* of_group = sums + u / s.groups * 2 * s.channels + c0;
    units.each(per_group, s.inner, [&, u](int64_t begin, int64_t end) PYDL_FLATTEN {
      for (int64_t i = begin; i < end; ++i) {
        double total[2] = {};
        sum_run<2>(s.inner, pointers(dy, x), u * size + i * s.inner,
                   Vectors<1>{{broadcast(mean[u])}}, AddProducts(), total);
        of_group[i] = total[0];
        of_group[s.channels + i] = total[1];
      }
    });
    if (!dx) return;
    double a = 0, b = 0;
    for (int64_t i = 0; i < per_group; ++i) {
      const double scale = gamma ? gamma[c0 + i] : 1;
      a += scale * of_group[i];
      b += scale * of_group[s.channels + i];
    }
    const double factor = rstd[u] / static_cast<double>(size);
    const Vec p2 = broadcast(static_cast<float>(a * factor));
    const Vec p3 = broadcast(static_cast<float>(b * factor * rstd[u] * rstd[u]));
    units.each(per_group, s.inner, [&, u](int64_t begin, int64_t end) PYDL_FLATTEN {
      for (int64_t i = begin; i < end; ++i) {
        const float scale = gamma ? gamma[c0 + i] : 1;
        const Vec p[] = {broadcast(mean[u]), broadcast(rstd[u] * scale), p2, p3};
        const int64_t first = u * size + i * s.inner;
        for_each_vector(first, first + s.inner, [&](int64_t at, int64_t lanes) {
          const Vec v[] = {load_some(dy + at, lanes), load_some(x + at, lanes),
                           add ? load_some(dx + at, lanes) : Vec{}};
          store_some(dx + at, Gradient{add}(v, p), lanes);
        });
      }
    });
  });
}

// ---- channels-last: a row holds all channels of a position ----

// Rows of a piece of an image: a multiple of what is summed together.
int64_t piece_rows(int64_t channels) { return kRows * items_worth(kGrain, kRows * channels); }

// total (2, channels) = the sums over `rows` rows from row `first` on; `parts` has room for as many
// in each piece.
template <int X, int P, class T, class F>
PYDL_INLINE void sum_image(const Units& units, int64_t channels, int64_t rows,
                           const Pointers<X, T>& x, int64_t first, const Pointers<P>& p, const F& f,
                           double* parts, double* total) {
  const int64_t height = piece_rows(channels), pieces = ceil_div(rows, height);
  const int64_t width = 2 * channels;
  units.each(pieces, height * channels, [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    T* const none = nullptr;
    for (int64_t piece = begin; piece < end; ++piece) {
      double* part = parts + piece * width;
      for (int64_t i = 0; i < width; ++i) part[i] = 0;
      const int64_t last = smaller((piece + 1) * height, rows);
      for (int64_t row = piece * height; row < last; row += kRows) {
        sum_rows<2>(channels, 0, channels, x, first + row, smaller(kRows, last - row), p, f, part,
                    none);
      }
    }
  });
  for (int64_t i = 0; i < width; ++i) total[i] = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    for (int64_t i = 0; i < width; ++i) total[i] += parts[piece * width + i];
  }
}

// y[i] = f(x[0..X)[i], p[0..P)[channel of i]) over the rows of an image.
template <int X, int P, class T, class F>
PYDL_INLINE void map_image(const Units& units, int64_t channels, int64_t rows,
                           const Pointers<X, T>& x, int64_t first, const Pointers<P>& p, T* y,
                           const F& f) {
  units.each(rows, channels, [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t row = first + begin; row < first + end; ++row) {
      for_each_vector(0, channels, [=](int64_t c, int64_t lanes) {
        const Vectors<P> q = load_parameters<true>(p, c, lanes);
        const Vectors<X> v = load_inputs(x, row * channels + c, lanes);
        store_some(y + row * channels + c, f(v.v, q.v), lanes);
      });
    }
  });
}

// Working memory of one thread: sums of the pieces, then those of the image, and parameters.
struct ImageScratch {
  ImageScratch(const GroupNormShape& s, int threads, int parameters)
      : channels(s.channels),
        pieces(ceil_div(s.inner, piece_rows(s.channels))),
        count(parameters),
        sums_(threads * (pieces + 1) * 2 * s.channels),
        parameters_(threads * parameters * s.channels) {}
  double* parts(int thread) const { return total(thread) + 2 * channels; }
  double* total(int thread) const { return sums_.data() + thread * (pieces + 1) * 2 * channels; }
  float* parameter(int thread, int i) const {
    return parameters_.data() + (thread * count + i) * channels;
  }

  int64_t channels, pieces;
  int count;

 private:
  DoubleScratch sums_;
  Scratch parameters_;
};

// total: the moments of the distances from `shift`. True if these leave too little.
bool cancels_somewhere(int64_t channels, double count, const double* total) {
  for (int64_t c = 0; c < channels; ++c) {
    const double d = total[c] / count;
    if (cancels(d, total[channels + c] / count - d * d)) return true;
  }
  return false;
}

template <class T>
void forward_last(const GroupNormShape& s, float eps, const T* x, const float* gamma,
                  const float* beta, float* mean, float* rstd, T* y) {
  const int64_t per_group = s.channels / s.groups;
  const auto count = static_cast<double>(s.inner);
  const Units units(s.n, s.channels * s.inner);
  const ImageScratch scratch(s, units.threads(), 3);
  units.run([&](int64_t image, int thread) {
    float* shift = scratch.parameter(thread, 0);  // then the mean
    float* factor = scratch.parameter(thread, 1);
    float* bias = scratch.parameter(thread, 2);
    double* total = scratch.total(thread);
    const int64_t first = image * s.inner;
    const auto sum = [&] {
      sum_image(units, s.channels, s.inner, pointers(x), first, pointers(shift), AddMoments(),
                scratch.parts(thread), total);
    };
    for (int64_t c = 0; c < s.channels; ++c) shift[c] = x[first * s.channels + c];
    sum();
    if (cancels_somewhere(s.channels, count, total)) {
      for (int64_t c = 0; c < s.channels; ++c) shift[c] += static_cast<float>(total[c] / count);
      sum();
    }
    for (int64_t g = 0; g < s.groups; ++g) {
      Pooled moments;
      for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
        const double d = total[c] / count, square = total[s.channels + c] / count - d * d;
        moments.add(shift[c] + d, square < 0 ? 0 : square);
      }
      const int64_t u = image * s.groups + g;
      mean[u] = moments.mean();
      rstd[u] = moments.rstd(eps);
      for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c) {
        shift[c] = mean[u];
        factor[c] = rstd[u] * (gamma ? gamma[c] : 1);
        bias[c] = beta ? beta[c] : 0;
      }
    }
    map_image(units, s.channels, s.inner, pointers(x), first, pointers(shift, factor, bias), y,
              Normalize());
  });
}

template <class T>
void backward_last(const GroupNormShape& s, const T* x, const float* gamma, const float* mean,
                   const float* rstd, const T* dy, bool add, double* sums, T* dx) {
  const int64_t per_group = s.channels / s.groups;
  const auto size = static_cast<double>(per_group * s.inner);
  const Units units(s.n, s.channels * s.inner);
  const ImageScratch scratch(s, units.threads(), 4);
  units.run([&](int64_t image, int thread) {
    float* center = scratch.parameter(thread, 0);
    float *p1 = scratch.parameter(thread, 1), *p2 = scratch.parameter(thread, 2);
    float* p3 = scratch.parameter(thread, 3);
    double* total = sums + image * 2 * s.channels;
    const int64_t first = image * s.inner;
    for (int64_t c = 0; c < s.channels; ++c) center[c] = mean[image * s.groups + c / per_group];
    sum_image(units, s.channels, s.inner, pointers(dy, x), first, Pointers<1>{{center}},
              AddProducts(), scratch.parts(thread), total);
    if (!dx) return;
    for (int64_t g = 0; g < s.groups; ++g) {
      const int64_t begin = g * per_group, end = begin + per_group;
      const float r = rstd[image * s.groups + g];
      double a = 0, b = 0;
      for (int64_t c = begin; c < end; ++c) {
        p1[c] = gamma ? gamma[c] : 1;
        a += p1[c] * total[c];
        b += p1[c] * total[s.channels + c];
        p1[c] *= r;
      }
      for (int64_t c = begin; c < end; ++c) {
        p2[c] = static_cast<float>(a * r / size);
        p3[c] = static_cast<float>(b * r * r * r / size);
      }
    }
    map_image(units, s.channels, s.inner, Pointers<3, T>{{dy, x, add ? dx : dy}}, first,
              Pointers<4>{{center, p1, p2, p3}}, dx, Gradient{add});
  });
}

// ---- either ----

template <class T>
void forward(const GroupNormShape& s, float eps, const T* x, const float* gamma, const float* beta,
             float* mean, float* rstd, T* y) {
  if (s.channels * s.inner == 0) return;
  const bool last = s.channels_last || s.inner == 1;
  (last ? forward_last<T> : forward_plain<T>)(s, eps, x, gamma, beta, mean, rstd, y);
}

template <class T>
void backward(const GroupNormShape& s, const T* x, const float* gamma, const float* mean,
              const float* rstd, const T* dy, bool add, float* dgamma, float* dbeta, T* dx) {
  if (s.channels * s.inner == 0) return;
  const DoubleScratch sums(s.n * 2 * s.channels);
  const bool last = s.channels_last || s.inner == 1;
  (last ? backward_last<T> : backward_plain<T>)(s, x, gamma, mean, rstd, dy, add, sums.data(), dx);
  const int64_t per_group = s.channels / s.groups;
  for (int64_t c = 0; c < s.channels && (dgamma || dbeta); ++c) {
    double of_gamma = 0, of_beta = 0;
    for (int64_t image = 0; image < s.n; ++image) {
      const double* total = sums.data() + image * 2 * s.channels + c;
      of_beta += total[0];
      of_gamma += total[s.channels] * rstd[image * s.groups + c / per_group];
    }
    if (dgamma) dgamma[c] = static_cast<float>(dgamma[c] + of_gamma);
    if (dbeta) dbeta[c] = static_cast<float>(dbeta[c] + of_beta);
  }
}

}  // namespace

const GroupNormKernels group_norm = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::PYDL_ISA
