// Local response normalisation (lrn.h).
//
// A window sum is taken in cache: the summands go into a scratch buffer, padded with zeros on both
// sides, and the sum is `size` shifted loads; nothing is added and subtracted again. A tile of the
// data (rows, strips or bands) goes through all passes while it is in cache.
#include "kernels/lrn.h"

#include "kernels/cpu/math.h"
#include "kernels/cpu/tasks.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const LrnKernels lrn;

namespace {

// Calls body with v -> v^-beta; 3/4, which every published net uses, needs no logarithm.
template <class Body>
PYDL_INLINE void with_power(float beta, const Body& body) {
  if (beta == 0.75f) {
    body([](Vec v) { return inverse_three_quarters(v); });
  } else {
    body([power = Power(-beta)](Vec v) { return power(v); });
  }
}

// What is summed, and what is made of the sum: i in the data, j in the tile, n lanes.

// y = x scale^-beta, scale = k + a sum
template <class T>
struct Forward {
  const T* x;
  T* y;
  float k, a;

  PYDL_INLINE Vec summand(int64_t i, int64_t, int64_t n) const {
    const Vec v = load_some(x + i, n);
    return v * v;
  }
  template <class P>
  PYDL_INLINE void finish(int64_t i, int64_t, int64_t n, Vec sum, const P& power) const {
    store_some(y + i, load_some(x + i, n) * power(sum * a + k), n);
  }
};

// dx = dy scale^-beta - b x (sum over the window of dy x scale^(-beta - 1)), b = 2 a beta:
// first the terms of the difference, ...
template <class T>
struct Terms {
  const T *x, *dy;
  float k, a;
  float *direct, *summands;

  PYDL_INLINE Vec summand(int64_t i, int64_t, int64_t n) const {
    const Vec v = load_some(x + i, n);
    return v * v;
  }
  template <class P>
  PYDL_INLINE void finish(int64_t i, int64_t j, int64_t n, Vec sum, const P& power) const {
    const Vec scale = sum * a + k, d = load_some(dy + i, n) * power(scale);
    store_some(direct + j, d, n);
    store_some(summands + j, d * load_some(x + i, n) / scale, n);
  }
};

// ... then the difference.
template <class T>
struct Difference {
  const T* x;
  const float *direct, *summands;
  T* dx;
  float b;

  PYDL_INLINE Vec summand(int64_t, int64_t j, int64_t n) const {
    return load_some(summands + j, n);
  }
  template <class P>
  PYDL_INLINE void finish(int64_t i, int64_t j, int64_t n, Vec sum, const P&) const {
    store_some(dx + i, load_some(direct + j, n) - b * load_some(x + i, n) * sum, n);
  }
};

PYDL_INLINE Vec window_sum(const float* p, int64_t size, int64_t shift) {
  Vec sum = load(p);
  for (int64_t k = 1; k < size; ++k) sum += load(p + k * shift);
  return sum;
}

void clear(float* p, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = 0;
}

// ---- tiles across channels ----
//
// tiles, of tile_size values each, and the scratch that one needs, zero at first.

// Channels side by side: a few rows at a time, so that the stores of the summands have left the
// store buffer when the shifted loads come.
struct ChannelsLast {
  explicit ChannelsLast(const LrnShape& s)
      : rows(s.outer),
        channels(s.channels),
        size(s.size),
        width(round_up(s.channels + s.size - 1, kLanes) + kLanes),
        batch(larger(1, 2048 / width)),
        tiles(ceil_div(rows, batch)),
        tile_size(batch * channels),
        scratch_size(batch * width) {}

  template <class Op, class P>
  PYDL_INLINE void run(int64_t tile, const Op& op, const P& power, float* scratch) const {
    const int64_t first = tile * batch * channels, count = smaller(batch, rows - tile * batch);
    for (int64_t r = 0; r < count; ++r) {
      float* summands = scratch + r * width + size / 2;
      for_each_vector(0, channels, [&](int64_t c, int64_t n) {
        const int64_t j = r * channels + c;
        store(summands + c, op.summand(first + j, j, n));
      });
    }
    for (int64_t r = 0; r < count; ++r) {
      const float* window = scratch + r * width;
      for_each_vector(0, channels, [&](int64_t c, int64_t n) {
        const int64_t j = r * channels + c;
        op.finish(first + j, j, n, window_sum(window + c, size, 1), power);
      });
    }
  }

  int64_t rows, channels, size, width, batch, tiles, tile_size, scratch_size;
};

// Positions side by side: strips of them, all channels.
struct ChannelsApart {
  static constexpr int64_t kStrip = 4 * kLanes;

  explicit ChannelsApart(const LrnShape& s)
      : channels(s.channels),
        inner(s.inner),
        size(s.size),
        strips(ceil_div(s.inner, kStrip)),
        tiles(s.outer * strips),
        tile_size(channels * kStrip),
        scratch_size((channels + size - 1) * kStrip) {}

  template <class Op, class P>
  PYDL_INLINE void run(int64_t tile, const Op& op, const P& power, float* scratch) const {
    const int64_t i0 = tile % strips * kStrip, width = smaller(kStrip, inner - i0);
    const int64_t first = tile / strips * channels * inner + i0;
    float* summands = scratch + size / 2 * kStrip;
    for (int64_t c = 0; c < channels; ++c) {
      for_each_vector(0, width, [&](int64_t i, int64_t n) {
        const int64_t j = c * kStrip + i;
        store(summands + j, op.summand(first + c * inner + i, j, n));
      });
    }
    for (int64_t c = 0; c < channels; ++c) {
      for_each_vector(0, width, [&](int64_t i, int64_t n) {
        const int64_t j = c * kStrip + i;
        op.finish(first + c * inner + i, j, n, window_sum(scratch + j, size, kStrip), power);
      });
    }
  }

  int64_t channels, inner, size, strips, tiles, tile_size, scratch_size;
};

// body(tile, scratch) in parallel.
template <class Tiles, class Body>
PYDL_INLINE void for_each_tile(const Tiles& t, int64_t floats, const Body& body) {
  parallel_for_scratch(t.tiles, items_worth(kMathGrain, t.tile_size), floats,
                       [&](int64_t begin, int64_t end, float* scratch) {
                         clear(scratch, t.scratch_size);
                         for (int64_t tile = begin; tile < end; ++tile) body(tile, scratch);
                       });
}

// body(tiles, power)
template <class Body>
PYDL_INLINE void across(const LrnShape& s, const Body& body) {
  with_power(s.beta, [&](const auto& power) {
    s.inner == 1 ? body(ChannelsLast(s), power) : body(ChannelsApart(s), power);
  });
}

float across_alpha(const LrnShape& s) { return s.alpha / static_cast<float>(s.size); }

template <class T>
void across_forward(const LrnShape& s, const T* x, T* y) {
  const Forward<T> op{x, y, s.k, across_alpha(s)};
  across(s, [&](const auto& t, const auto& power) {
    for_each_tile(t, t.scratch_size,
                  [&](int64_t tile, float* scratch) { t.run(tile, op, power, scratch); });
  });
}

template <class T>
void across_backward(const LrnShape& s, const T* x, const T* dy, T* dx) {
  const float a = across_alpha(s);
  across(s, [&](const auto& t, const auto& power) {
    for_each_tile(t, t.scratch_size + 2 * t.tile_size, [&](int64_t tile, float* scratch) {
      float *direct = scratch + t.scratch_size, *summands = direct + t.tile_size;
      t.run(tile, Terms<T>{x, dy, s.k, a, direct, summands}, power, scratch);
      t.run(tile, Difference<T>{x, direct, summands, dx, 2 * a * s.beta}, power, scratch);
    });
  });
}

// ---- within a channel ----

// Bands of rows of images (planes, h, w, c), c = 1 for plain ones: summands of the band and its
// halo, then per row the sums of columns, then of rows of columns.
template <class Op, class P>
PYDL_INLINE void within_bands(const LrnShape& s, int64_t planes, int64_t c, const Op& op,
                              const P& power) {
  const int64_t half = s.size / 2, row = s.w * c, pitch = round_up(row, kLanes);
  const int64_t band = larger(8, 2 * s.size), bands = ceil_div(s.h, band);
  const int64_t halo = (band + 2 * half) * pitch,
                sums = round_up(row + 2 * half * c, kLanes) + kLanes;
  const int64_t grain = items_worth(kMathGrain, smaller(band, s.h) * row);
  parallel_for_scratch(
      planes * bands, grain, halo + sums, [=](int64_t begin, int64_t end, float* scratch) {
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
              const int64_t at = plane + h * row + i;
              store(to + i, op.summand(at, at, n));
            });
          }
          for (int64_t h = h0; h < h1; ++h) {
            const float* from = scratch + (h - h0) * pitch;
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              store_some(columns + half * c + i, window_sum(from + i, s.size, pitch), n);
            });
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              const int64_t at = plane + h * row + i;
              op.finish(at, at, n, window_sum(columns + i, s.size, c), power);
            });
          }
        }
      });
}

template <class Op>
void within(const LrnShape& s, const Op& op) {
  with_power(s.beta, [&](const auto& power) {
    if (s.channels_last) {
      within_bands(s, s.outer, s.channels, op, power);
    } else {
      within_bands(s, s.outer * s.channels, 1, op, power);
    }
  });
}

float within_alpha(const LrnShape& s) { return s.alpha / static_cast<float>(s.size * s.size); }

template <class T>
void within_forward(const LrnShape& s, const T* x, T* y) {
  within(s, Forward<T>{x, y, 1, within_alpha(s)});
}

template <class T>
void within_backward(const LrnShape& s, const T* x, const T* dy, T* dx) {
  const int64_t count = s.outer * s.channels * s.h * s.w;
  const Scratch direct(count), summands(count);
  const float a = within_alpha(s);
  within(s, Terms<T>{x, dy, 1, a, direct.data(), summands.data()});
  within(s, Difference<T>{x, direct.data(), summands.data(), dx, 2 * a * s.beta});
}

}  // namespace

const LrnKernels lrn = {PYDL_TYPED(across_forward), PYDL_TYPED(across_backward),
                        PYDL_TYPED(within_forward), PYDL_TYPED(within_backward)};

}  // namespace pydl::kernels::PYDL_ISA
