// L2 normalisation (l2_norm.h), vectorised across channels.
#include "kernels/l2_norm.h"

#include "kernels/cpu/channels.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const L2NormKernels l2_norm;

namespace {

// The sum over a row of what term(i, c, lanes) gives for channels c on of a position, at i.
template <class Term>
PYDL_INLINE double sum_row(const L2NormShape& s, const Term& term) {
  double total = 0;
  for (int64_t p = 0; p < s.positions; ++p) {
    Vec sums{};
    for_each_vector(0, s.channels,
                    [&](int64_t c, int64_t lanes) { sums += term(p * s.channels + c, c, lanes); });
    total += sum(sums);
  }
  return total;
}

// body(i, c, lanes) for the vectors of a row.
template <class Body>
PYDL_INLINE void for_each_in_row(const L2NormShape& s, const Body& body) {
  for (int64_t p = 0; p < s.positions; ++p) {
    for_each_vector(0, s.channels,
                    [&](int64_t c, int64_t lanes) { body(p * s.channels + c, c, lanes); });
  }
}

template <class T>
void forward(const L2NormShape& s, const T* x, float eps, const float* scale, float factor,
             float* norm, T* y) {
  const int64_t n = s.positions * s.channels;
  parallel_for(s.rows, items_worth(kGrain, n), [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * n;
      T* to = y + r * n;
      const double squares = sum_row(s, [=](int64_t i, int64_t, int64_t lanes) {
        const Vec v = load_some(from + i, lanes);
        return v * v;
      });
      norm[r] = static_cast<float>(__builtin_sqrt(eps + squares));
      const float by = factor / norm[r];
      for_each_in_row(s, [=](int64_t i, int64_t c, int64_t lanes) {
        const Vec v = load_some(from + i, lanes) * by;
        store_some(to + i, v * load_some(scale + c, lanes), lanes);
      });
    }
  });
}

template <class T>
void row_backward(const L2NormShape& s, const T* x, const float* scale, float factor, float norm,
                  const T* dy, T* dx) {
  const double sum = sum_row(s, [=](int64_t i, int64_t c, int64_t lanes) {
    return load_some(dy + i, lanes) * load_some(scale + c, lanes) * load_some(x + i, lanes);
  });
  const float dot = static_cast<float>(sum), square = norm * norm;
  for_each_in_row(s, [=](int64_t i, int64_t c, int64_t lanes) {
    const Vec g = load_some(dy + i, lanes) * load_some(scale + c, lanes);
    const Vec along = load_some(x + i, lanes) * dot / square;
    store_some(dx + i, factor * ((g - along) / norm), lanes);
  });
}

// The sums of dy x / norm per channel over a chunk of the data: in float over kStretch positions,
// in double over these.
template <class T>
class ScaleGradient {
 public:
  ScaleGradient(int64_t channels, float* stretch, double* total)
      : channels_(channels), stretch_(stretch), total_(total) {
    for (int64_t c = 0; c < channels; ++c) stretch_[c] = 0, total_[c] = 0;
  }
  void add_position(const T* x, const T* dy, float norm) {
    const float inverse = 1 / norm;
    for_each_vector(0, channels_, [=, this](int64_t c, int64_t lanes) {
      const Vec product = load_some(dy + c, lanes) * load_some(x + c, lanes);
      store_some(stretch_ + c, load_some(stretch_ + c, lanes) + product * inverse, lanes);
    });
    if (++count_ % kStretch == 0) flush();
  }
  void flush() {
    for (int64_t c = 0; c < channels_; ++c) {
      total_[c] += stretch_[c];
      stretch_[c] = 0;
    }
  }

 private:
  int64_t channels_, count_ = 0;
  float* stretch_;
  double* total_;
};

template <class T>
void backward(const L2NormShape& s, const T* x, const float* scale, float factor, const float* norm,
              const T* dy, T* dx, float* dscale) {
  constexpr int64_t kMostChunks = 64;  // whatever the number of threads
  const int64_t n = s.positions * s.channels, size = ceil_div(larger(s.rows, 1), kMostChunks);
  const int64_t chunks = ceil_div(s.rows, size);
  const Scratch stretches(dscale ? chunks * s.channels : 0);
  const DoubleScratch totals(dscale ? chunks * s.channels : 0), sums(dscale ? s.channels : 0);
  parallel_for(chunks, items_worth(kGrain, n * size), [&](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * size, last = smaller(first + size, s.rows);
      if (dscale) {
        const int64_t at = chunk * s.channels;
        ScaleGradient<T> gradient(s.channels, stretches.data() + at, totals.data() + at);
        for (int64_t p = first * s.positions; p < last * s.positions; ++p) {
          gradient.add_position(x + p * s.channels, dy + p * s.channels, norm[p / s.positions]);
        }
        gradient.flush();
      }
      for (int64_t r = first; dx && r < last; ++r) {
        row_backward(s, x + r * n, scale, factor, norm[r], dy + r * n, dx + r * n);
      }
    }
  });
  if (!dscale) return;
  add_parts(chunks, s.channels, totals.data(), sums.data());
  add_to(s.channels, sums.data(), dscale);
}

}  // namespace

const L2NormKernels l2_norm = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::PYDL_ISA
