// Local response normalisation (lrn.h).
//
// A window sum is taken in cache: the summands go into a scratch buffer, padded with zeros on both
// sides, and the sum is `size` shifted loads; nothing is added and subtracted again. A tile of the
// data (some rows, a strip, a band) goes through all passes while it is in cache.
#include "kernels/lrn.h"

#include "kernels/cpu/math.h"
#include "kernels/cpu/tasks.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const LrnKernels lrn;

namespace {

// v^-beta, and that over v.
struct AnyPower {
  Power power;

  PYDL_INLINE Vec operator()(Vec v) const { return power(v); }
  PYDL_INLINE Vec over(Vec v, Vec result) const { return result / v; }
};
// Beta = 3/4 needs no logarithm.
struct ThreeQuarters {
  PYDL_INLINE Vec operator()(Vec v) const { return inverse_three_quarters(v); }
  PYDL_INLINE Vec over(Vec v, Vec result) const { return result * reciprocal(v); }
};

using FiveWide = std::integral_constant<int64_t, 5>;

// body(size, power): both known to the compiler for what every published net uses, 5 and 3/4.
template <class Body>
PYDL_INLINE void with_window(const LrnShape& s, const Body& body) {
  if (s.size == 5 && s.beta == 0.75f) {
    body(FiveWide(), ThreeQuarters());
  } else {
    body(s.size, AnyPower{Power(-s.beta)});
  }
}

// The sum of `size` vectors around p, `shift` apart.
template <class Size>
PYDL_INLINE Vec window_sum(const float* p, Size size, int64_t shift) {
  const int64_t half = size / 2;
  Vec sum = load(p);
  for (int64_t k = 1; k <= half; ++k) sum += load(p - k * shift) + load(p + k * shift);
  return sum;
}

// Lanes k ... of a, followed by the first ones of b.
template <int k>
PYDL_INLINE Vec join(Vec a, Vec b) {
  VecI from;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) from[i] = k + i;
  return __builtin_shuffle(a, b, from);
}

// The same for vectors 1 apart and p aligned: unaligned loads would each take two lines of cache.
PYDL_INLINE Vec window_sum(const float* p, FiveWide, std::integral_constant<int64_t, 1>) {
  const Vec before = load(p - kLanes), here = load(p), after = load(p + kLanes);
  return (join<kLanes - 2>(before, here) + join<kLanes - 1>(before, here)) +
         (join<1>(here, after) + join<2>(here, after)) + here;
}

void clear(float* p, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = 0;
}

PYDL_INLINE Vec square(Vec v) { return v * v; }

// The terms of dx = direct - b x (sum over the window of `indirect`), b = 2 a beta.
struct Terms {
  Vec direct, indirect;
};
template <class P>
PYDL_INLINE Terms terms(Vec x, Vec dy, Vec scale, const P& power) {
  const Vec p = power(scale);
  return {dy * p, dy * x * power.over(scale, p)};
}

// ---- tiles across channels ----
//
// In the scratch of a tile, `size` floats with zeros around the data, the window of value j is
// window_sum(scratch + j, ..., shift); j is aligned.

// Channels side by side: a few rows at a time, so that the stores of the summands have left the
// store buffer when the shifted loads come.
struct ChannelsLast {
  static constexpr std::integral_constant<int64_t, 1> shift{};

  explicit ChannelsLast(const LrnShape& s)
      : rows(s.outer),
        channels(s.channels),
        pad(round_up(s.size / 2, kLanes)),
        width(round_up(s.channels, kLanes) + pad),
        batch(larger(1, 2048 / width)),
        count(ceil_div(rows, batch)),
        size(aligned_size(pad + batch * width)) {}

  // body(i, j, n): in the data, in the scratch, lanes.
  template <class Body>
  PYDL_INLINE void for_each(int64_t tile, const Body& body) const {
    const int64_t first = tile * batch;
    for (int64_t r = 0; r < smaller(batch, rows - first); ++r) {
      const int64_t i = (first + r) * channels, j = pad + r * width;
      for_each_vector(0, channels, [&](int64_t c, int64_t n) { body(i + c, j + c, n); });
    }
  }

  int64_t rows, channels, pad, width, batch, count, size;
};

// Positions side by side: strips of them, all channels.
struct ChannelsApart {
  static constexpr int64_t shift = 4 * kLanes;

  explicit ChannelsApart(const LrnShape& s)
      : channels(s.channels),
        inner(s.inner),
        half(s.size / 2),
        strips(ceil_div(s.inner, shift)),
        count(s.outer * strips),
        size((channels + 2 * half) * shift) {}

  template <class Body>
  PYDL_INLINE void for_each(int64_t tile, const Body& body) const {
    const int64_t i0 = tile % strips * shift, width = smaller(shift, inner - i0);
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t i = (tile / strips * channels + c) * inner + i0, j = (c + half) * shift;
      for_each_vector(0, width, [&](int64_t k, int64_t n) { body(i + k, j + k, n); });
    }
  }

  int64_t channels, inner, half, strips, count, size;
};

// body(tiles, tile, scratch) in parallel, with `buffers` buffers of scratch of t.size.
template <class Tiles, class Body>
PYDL_INLINE void for_each_tile(const Tiles& t, int64_t buffers, const Body& body) {
  parallel_for_scratch(t.count, items_worth(kMathGrain, t.size), buffers * t.size,
                       [&](int64_t begin, int64_t end, float* scratch) PYDL_FLATTEN {
                         clear(scratch, buffers * t.size);
                         for (int64_t tile = begin; tile < end; ++tile) body(t, tile, scratch);
                       });
}
template <class Body>
PYDL_INLINE void across(const LrnShape& s, int64_t buffers, const Body& body) {
  if (s.inner == 1) {
    for_each_tile(ChannelsLast(s), buffers, body);
  } else {
    for_each_tile(ChannelsApart(s), buffers, body);
  }
}

float across_alpha(const LrnShape& s) { return s.alpha / static_cast<float>(s.size); }

template <class T>
void across_forward(const LrnShape& s, const T* x, T* y) {
  const float a = across_alpha(s);
  with_window(s, [&](auto size, const auto& power) {
    across(s, 1, [=, &s](const auto& t, int64_t tile, float* squares) {
      t.for_each(tile, [=](int64_t i, int64_t j, int64_t n) {
        store_some(squares + j, square(load_some(x + i, n)), n);
      });
      t.for_each(tile, [=, &s](int64_t i, int64_t j, int64_t n) {
        const Vec scale = window_sum(squares + j, size, t.shift) * a + s.k;
        store_some(y + i, load_some(x + i, n) * power(scale), n);
      });
    });
  });
}

template <class T>
void across_backward(const LrnShape& s, const T* x, const T* dy, T* dx) {
  const float a = across_alpha(s), b = 2 * a * s.beta;
  with_window(s, [&](auto size, const auto& power) {
    across(s, 3, [=, &s](const auto& t, int64_t tile, float* squares) {
      float *direct = squares + t.size, *indirect = direct + t.size;
      t.for_each(tile, [=](int64_t i, int64_t j, int64_t n) {
        store_some(squares + j, square(load_some(x + i, n)), n);
      });
      t.for_each(tile, [=, &s](int64_t i, int64_t j, int64_t n) {
        const Vec scale = window_sum(squares + j, size, t.shift) * a + s.k;
        const Terms term = terms(load_some(x + i, n), load_some(dy + i, n), scale, power);
        store_some(direct + j, term.direct, n);
        store_some(indirect + j, term.indirect, n);
      });
      t.for_each(tile, [=](int64_t i, int64_t j, int64_t n) {
        const Vec sum = window_sum(indirect + j, size, t.shift);
        store_some(dx + i, load_some(direct + j, n) - b * load_some(x + i, n) * sum, n);
      });
    });
  });
}

// ---- within a channel ----

// Bands of rows of images (planes, h, w, c), c = 1 for plain ones: summands(i, n) of the band and
// its halo, then per row the sums of columns, then of rows of columns, for finish(i, n, sum).
template <class Size, class Summand, class Finish>
PYDL_INLINE void within_bands(const LrnShape& s, Size size, const Summand& summand,
                              const Finish& finish) {
  const int64_t planes = s.channels_last ? s.outer : s.outer * s.channels;
  const int64_t c = s.channels_last ? s.channels : 1;
  const int64_t half = size / 2, row = s.w * c, pitch = round_up(row, kLanes);
  const int64_t band = larger(8, 2 * size), bands = ceil_div(s.h, band);
  const int64_t halo = (band + 2 * half) * pitch,
                sums = round_up(row + 2 * half * c, kLanes) + kLanes;
  const int64_t grain = items_worth(kMathGrain, smaller(band, s.h) * row);
  parallel_for_scratch(
      planes * bands, grain, halo + sums,
      [=](int64_t begin, int64_t end, float* scratch) PYDL_FLATTEN {
        float* columns = scratch + halo;
        clear(columns, sums);
        for (int64_t item = begin; item < end; ++item) {
          const int64_t h0 = item % bands * band, h1 = smaller(h0 + band, s.h);
          const int64_t plane = item / bands * s.h * row;
          // Row r of the scratch is row h0 - half + r of the image.
          for (int64_t h = h0 - half; h < h1 + half; ++h) {
            float* to = scratch + (h - h0 + half) * pitch;
            if (h < 0 || h >= s.h) {
              clear(to, pitch);
              continue;
            }
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              store_some(to + i, summand(plane + h * row + i, n), n);
            });
          }
          for (int64_t h = h0; h < h1; ++h) {
            const float* from = scratch + (h - h0 + half) * pitch;
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              store_some(columns + half * c + i, window_sum(from + i, size, pitch), n);
            });
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              finish(plane + h * row + i, n, window_sum(columns + half * c + i, size, c));
            });
          }
        }
      });
}

float within_alpha(const LrnShape& s) { return s.alpha / static_cast<float>(s.size * s.size); }

template <class T>
void within_forward(const LrnShape& s, const T* x, T* y) {
  const float a = within_alpha(s);
  with_window(s, [&](auto size, const auto& power) {
    within_bands(
        s, size, [=](int64_t i, int64_t n) { return square(load_some(x + i, n)); },
        [=](int64_t i, int64_t n, Vec sum) {
          store_some(y + i, load_some(x + i, n) * power(sum * a + 1.0f), n);
        });
  });
}

template <class T>
void within_backward(const LrnShape& s, const T* x, const T* dy, T* dx) {
  const int64_t count = s.outer * s.channels * s.h * s.w;
  const Scratch scratch(2 * count);
  float *direct = scratch.data(), *indirect = direct + count;
  const float a = within_alpha(s), b = 2 * a * s.beta;
  with_window(s, [&](auto size, const auto& power) {
    within_bands(
        s, size, [=](int64_t i, int64_t n) { return square(load_some(x + i, n)); },
        [=](int64_t i, int64_t n, Vec sum) {
          const Vec scale = sum * a + 1.0f;
          const Terms term = terms(load_some(x + i, n), load_some(dy + i, n), scale, power);
          store_some(direct + i, term.direct, n);
          store_some(indirect + i, term.indirect, n);
        });
    within_bands(
        s, size, [=](int64_t i, int64_t n) { return load_some(indirect + i, n); },
        [=](int64_t i, int64_t n, Vec sum) {
          store_some(dx + i, load_some(direct + i, n) - b * load_some(x + i, n) * sum, n);
        });
  });
}

}  // namespace

const LrnKernels lrn = {PYDL_TYPED(across_forward), PYDL_TYPED(across_backward),
                        PYDL_TYPED(within_forward), PYDL_TYPED(within_backward)};

}  // namespace pydl::kernels::PYDL_ISA
