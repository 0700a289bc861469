// Local response normalisation (lrn.h).
//
// A window sum is taken in cache: the summands go into a scratch buffer, padded with zeros on both
// sides, and the sum is `size` shifted loads; nothing is added and subtracted again.
#include "kernels/lrn.h"

#include "kernels/cpu/math.h"
#include "kernels/cpu/tasks.h"

namespace pydl::kernels::PYDL_ISA {

extern const LrnKernels lrn;

namespace {

// Calls body with v -> v^-beta; 3/4, which every published net uses, needs no logarithm.
template <class Body>
PYDL_INLINE void with_power(float beta, const Body& body) {
  if (beta == 0.75f) {
    body([](Vec v) {
      const Vec r = rsqrt(v);  // v^-1/2
      const Vec finite = v * r, root = select((r == 0.0f) | (r == kInfinity), v, finite);
      return r * rsqrt(root);
    });
  } else {
    body([power = Power(-beta)](Vec v) { return power(v); });
  }
}

// What is summed, and what is made of the sum.
struct Forward {
  const float* x;
  float *scale, *y;
  float k, a;  // a: alpha over the size of the window

  PYDL_INLINE Vec summand(int64_t i, int64_t n) const {
    const Vec v = load_some(x + i, n);
    return v * v;
  }
  template <class P>
  PYDL_INLINE void finish(int64_t i, int64_t n, Vec sum, const P& power) const {
    const Vec s = sum * a + k;
    store_some(scale + i, s, n);
    store_some(y + i, load_some(x + i, n) * power(s), n);
  }
};

// dx = dy scale^-beta - b x (sum over the window of dy y / scale), b = 2 a beta
struct Backward {
  const float *x, *y, *scale, *dy;
  float* dx;
  float b;

  PYDL_INLINE Vec summand(int64_t i, int64_t n) const {
    const Vec ratio = load_some(dy + i, n) * load_some(y + i, n) / load_some(scale + i, n);
    // The lanes beyond n are 0 / 0, but must be zero.
    return n == kLanes ? ratio : select(iota() < static_cast<int32_t>(n), ratio, Vec{});
  }
  template <class P>
  PYDL_INLINE void finish(int64_t i, int64_t n, Vec sum, const P& power) const {
    const Vec direct = load_some(dy + i, n) * power(load_some(scale + i, n));
    store_some(dx + i, direct - b * load_some(x + i, n) * sum, n);
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

// ---- across channels ----

// Channels side by side: a few rows at a time, so that the stores of the summands have left the
// store buffer when the shifted loads come.
template <class Op, class P>
PYDL_INLINE void across_last(const LrnShape& s, const Op& op, const P& power) {
  const int64_t half = s.size / 2, width = round_up(s.channels + 2 * half, kLanes) + kLanes;
  const int64_t batch = larger(1, 2048 / width);
  parallel_for_scratch(s.outer, items_worth(kMathGrain, s.channels), batch * width,
                       [=](int64_t begin, int64_t end, float* scratch) {
                         clear(scratch, batch * width);
                         for (int64_t row = begin; row < end; row += batch) {
                           const int64_t rows = smaller(batch, end - row);
                           for (int64_t r = 0; r < rows; ++r) {
                             float* summands = scratch + r * width + half;
                             const int64_t first = (row + r) * s.channels;
                             for_each_vector(0, s.channels, [&](int64_t c, int64_t n) {
                               store(summands + c, op.summand(first + c, n));
                             });
                           }
                           for (int64_t r = 0; r < rows; ++r) {
                             const float* window = scratch + r * width;
                             const int64_t first = (row + r) * s.channels;
                             for_each_vector(0, s.channels, [&](int64_t c, int64_t n) {
                               op.finish(first + c, n, window_sum(window + c, s.size, 1), power);
                             });
                           }
                         }
                       });
}

// Positions side by side: strips of them, all channels.
template <class Op, class P>
PYDL_INLINE void across_plain(const LrnShape& s, const Op& op, const P& power) {
  constexpr int64_t kStrip = 4 * kLanes;
  const int64_t half = s.size / 2, strips = ceil_div(s.inner, kStrip);
  const int64_t floats = (s.channels + 2 * half) * kStrip;
  const int64_t grain = items_worth(kMathGrain, s.channels * smaller(kStrip, s.inner));
  parallel_for_scratch(
      s.outer * strips, grain, floats, [=](int64_t begin, int64_t end, float* scratch) {
        clear(scratch, floats);
        for (int64_t item = begin; item < end; ++item) {
          const int64_t i0 = item % strips * kStrip, width = smaller(kStrip, s.inner - i0);
          const int64_t first = item / strips * s.channels * s.inner + i0;
          for (int64_t c = 0; c < s.channels; ++c) {
            for_each_vector(0, width, [&](int64_t i, int64_t n) {
              store(scratch + (c + half) * kStrip + i, op.summand(first + c * s.inner + i, n));
            });
          }
          for (int64_t c = 0; c < s.channels; ++c) {
            for_each_vector(0, width, [&](int64_t i, int64_t n) {
              const Vec sum = window_sum(scratch + c * kStrip + i, s.size, kStrip);
              op.finish(first + c * s.inner + i, n, sum, power);
            });
          }
        }
      });
}

template <class Op>
void across(const LrnShape& s, const Op& op) {
  with_power(s.beta, [&](const auto& power) {
    s.inner == 1 ? across_last(s, op, power) : across_plain(s, op, power);
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
              store(to + i, op.summand(plane + h * row + i, n));
            });
          }
          for (int64_t h = h0; h < h1; ++h) {
            const float* from = scratch + (h - h0) * pitch;
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              store_some(columns + half * c + i, window_sum(from + i, s.size, pitch), n);
            });
            for_each_vector(0, row, [&](int64_t i, int64_t n) {
              op.finish(plane + h * row + i, n, window_sum(columns + i, s.size, c), power);
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

// ---- the family's functions ----

float across_alpha(const LrnShape& s) { return s.alpha / static_cast<float>(s.size); }
float within_alpha(const LrnShape& s) { return s.alpha / static_cast<float>(s.size * s.size); }

void across_forward(const LrnShape& s, const float* x, float* scale, float* y) {
  across(s, Forward{x, scale, y, s.k, across_alpha(s)});
}

void across_backward(const LrnShape& s, const float* x, const float* y, const float* scale,
                     const float* dy, float* dx) {
  across(s, Backward{x, y, scale, dy, dx, 2 * across_alpha(s) * s.beta});
}

void within_forward(const LrnShape& s, const float* x, float* scale, float* y) {
  within(s, Forward{x, scale, y, 1, within_alpha(s)});
}

void within_backward(const LrnShape& s, const float* x, const float* y, const float* scale,
                     const float* dy, float* dx) {
  within(s, Backward{x, y, scale, dy, dx, 2 * within_alpha(s) * s.beta});
}

}  // namespace

const LrnKernels lrn = {across_forward, across_backward, within_forward, within_backward};

}  // namespace pydl::kernels::PYDL_ISA
