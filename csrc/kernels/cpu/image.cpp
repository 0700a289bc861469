// Cutting out and varying images (image.h): row by row, a vector of a row at a time.
#include "kernels/image.h"

#include "kernels/cpu/bytes.h"
#include "kernels/cpu/map.h"

namespace pydl::kernels::PYDL_ISA {

extern const ImageKernels image;

namespace {

PYDL_INLINE Vec floats_at(const float* x, int64_t n) { return load_some(x, n); }
PYDL_INLINE Vec floats_at(const uint8_t* x, int64_t n) { return to_float(load_some(x, n)); }

PYDL_INLINE Vec reversed(Vec v) { return __builtin_shuffle(v, (int)kLanes - 1 - iota()); }

// f(i, n): (x - mean) * scale of the n columns from i on.
template <class F>
PYDL_INLINE void write_row(int64_t columns, bool flip, float* y, const F& f) {
  if (!flip) {
    for_each_vector(0, columns, [&](int64_t i, int64_t n) { store_some(y + i, f(i, n), n); });
    return;
  }
  int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    store(y + columns - kLanes - i, reversed(f(i, kLanes)));
  }
  const Vec rest = f(i, columns - i);
  for (int64_t k = 0; k < columns - i; ++k) y[columns - 1 - i - k] = rest[k];
}

template <class T>
void cut_out(const ImageCut& s, const T* x, const float* mean_image, const float* channel_mean,
             float scale, float* y) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t row = 0; row < s.rows; ++row, y += s.columns) {
      const int64_t from = (c * s.height + s.top + row) * s.width + s.left;
      if (mean_image) {
        write_row(s.columns, s.flip, y, [=](int64_t i, int64_t n) {
          return (floats_at(x + from + i, n) - load_some(mean_image + from + i, n)) * scale;
        });
      } else {
        const Vec mean = broadcast(channel_mean[c]);
        write_row(s.columns, s.flip, y, [=](int64_t i, int64_t n) {
          return (floats_at(x + from + i, n) - mean) * scale;
        });
      }
    }
  }
}

template <class T>
void pad(const ImageWarp& s, const T* x, const float* fill, float* y) {
  const int64_t columns = s.width + 2;
  const auto set = [](int64_t n, float value, float* to) {
    for_each_vector(0, n, [=](int64_t i, int64_t k) { store_some(to + i, broadcast(value), k); });
  };
  for (int64_t c = 0; c < s.channels; ++c) {
    set(columns, fill[c], y);
    y += columns;
    for (int64_t row = 0; row < s.height; ++row, x += s.width, y += columns) {
      y[0] = y[columns - 1] = fill[c];
      float* to = y + 1;
      for_each_vector(0, s.width, [=](int64_t i, int64_t n) {
        store_some(to + i, n == kLanes ? floats_at(x + i, kLanes) : floats_at(x + i, n), n);
      });
    }
    set(columns, fill[c], y);
    y += columns;
  }
}

// Lane i is x[index[i]].
PYDL_INLINE Vec gather(const float* x, VecI index) {
#if defined(__AVX512F__)
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, (__m512i)index, x, 4);
#elif defined(__AVX2__)
  return _mm256_i32gather_ps(x, (__m256i)index, 4);
#else
  Vec v;
  for (int i = 0; i < kLanes; ++i) v[i] = x[index[i]];
  return v;
#endif
}

PYDL_INLINE Vec floor(Vec v) {
  const Vec whole = to_float(truncate(v));
  return whole - select(whole > v, broadcast(1.0f), Vec{});
}

// Places along an axis of the padded image: the pixel at or before each, and how far behind it.
struct Place {
  VecI pixel;
  Vec part;
};

template <ImageBorder kBorder, bool kNearest>
PYDL_INLINE Place place(Vec at, float size) {
  if constexpr (kBorder == ImageBorder::kReflect) {
    const float period = 2 * size;
    const Vec from_edge = at + 0.5f;
    const Vec folded = from_edge - period * floor(from_edge * (1 / period));
    at = min(folded, period - folded) - 0.5f;
  }
  constexpr float kRim = kBorder == ImageBorder::kConstant ? 1 : 0;
  at = min(max(at, broadcast(-kRim)), broadcast(size - 1 + kRim)) + 1.0f;
  if constexpr (kNearest) at = round(at);
  const VecI pixel = truncate(min(at, broadcast(size)));
  return {pixel, at - to_float(pixel)};
}

template <ImageBorder kBorder, bool kNearest>
void warp_by(const ImageWarp& s, const float* padded, float* y) {
  const int64_t stride = s.width + 2, plane = (s.height + 2) * stride;
  const auto& m = s.matrix;
  for (int64_t row = 0; row < s.rows; ++row, y += s.columns) {
    const float x0 = m[1] * static_cast<float>(row) + m[2];
    const float y0 = m[4] * static_cast<float>(row) + m[5];
    for_each_vector(0, s.columns, [=, &s, &m](int64_t i, int64_t n) {
      const Vec column = to_float(iota() + static_cast<int32_t>(i));
      const auto u = place<kBorder, kNearest>(m[0] * column + x0, static_cast<float>(s.width));
      const auto v = place<kBorder, kNearest>(m[3] * column + y0, static_cast<float>(s.height));
      const VecI at = v.pixel * static_cast<int32_t>(stride) + u.pixel;
      for (int64_t c = 0; c < s.channels; ++c) {
        const float *p = padded + c * plane, *q = p + stride;
        const Vec a = gather(p, at), b = gather(p + 1, at);
        const Vec d = gather(q, at), e = gather(q + 1, at);
        const Vec above = a + u.part * (b - a), below = d + u.part * (e - d);
        store_some(y + c * s.rows * s.columns + i, above + v.part * (below - above), n);
      }
    });
  }
}

template <ImageBorder kBorder>
void warp_to(const ImageWarp& s, const float* padded, float* y) {
  s.nearest ? warp_by<kBorder, true>(s, padded, y) : warp_by<kBorder, false>(s, padded, y);
}

void warp(const ImageWarp& s, const float* padded, float* y) {
  switch (s.border) {
    case ImageBorder::kConstant:
      return warp_to<ImageBorder::kConstant>(s, padded, y);
    case ImageBorder::kRepeat:
      return warp_to<ImageBorder::kRepeat>(s, padded, y);
    case ImageBorder::kReflect:
      return warp_to<ImageBorder::kReflect>(s, padded, y);
  }
}

template <int kChannels>
void mix_channels(int64_t pixels, const float* matrix, float low, float high, float* y) {
  Vec m[kChannels][kChannels + 1];
  for (int c = 0; c < kChannels; ++c) {
    for (int k = 0; k <= kChannels; ++k) m[c][k] = broadcast(matrix[c * (kChannels + 1) + k]);
  }
  for_each_vector(0, pixels, [&](int64_t i, int64_t n) {
    Vec v[kChannels];
#pragma GCC unroll 3
    for (int c = 0; c < kChannels; ++c) v[c] = load_some(y + c * pixels + i, n);
#pragma GCC unroll 3
    for (int c = 0; c < kChannels; ++c) {
      Vec sum = m[c][kChannels];
#pragma GCC unroll 3
      for (int k = 0; k < kChannels; ++k) sum += m[c][k] * v[k];
      store_some(y + c * pixels + i, min(max(sum, broadcast(low)), broadcast(high)), n);
    }
  });
}

void mix(int64_t channels, int64_t pixels, const float* matrix, float low, float high, float* y) {
  channels == 3 ? mix_channels<3>(pixels, matrix, low, high, y)
                : mix_channels<1>(pixels, matrix, low, high, y);
}

// y = the sum of the rows x(0) .. x(taps - 1) times the weights
template <class Row>
PYDL_INLINE void add_rows(int64_t n, int64_t taps, const float* weights, const Row& x, float* y) {
  for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
    Vec sum{};
    for (int64_t k = 0; k < taps; ++k) sum += weights[k] * load_some(x(k) + i, lanes);
    store_some(y + i, sum, lanes);
  });
}

void blur(int64_t channels, int64_t rows, int64_t columns, int64_t radius, const float* weights,
          float* scratch, float* y) {
  const int64_t taps = 2 * radius + 1;
  float* row = scratch + rows * columns;  // with its ends repeated on both sides
  for (int64_t c = 0; c < channels; ++c, y += rows * columns) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* x = y + r * columns;
      for (int64_t i = 0; i < radius; ++i) {
        row[i] = x[0];
        row[radius + columns + i] = x[columns - 1];
      }
      for (int64_t i = 0; i < columns; ++i) row[radius + i] = x[i];
      add_rows(columns, taps, weights, [=](int64_t k) { return row + k; }, scratch + r * columns);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const auto above = [=](int64_t k) {
        return scratch + larger(0, smaller(r + k - radius, rows - 1)) * columns;
      };
      add_rows(columns, taps, weights, above, y + r * columns);
    }
  }
}

}  // namespace

const ImageKernels image = {
    cut_out<uint8_t>, cut_out<float>, pad<uint8_t>, pad<float>, warp, mix, blur};

}  // namespace pydl::kernels::PYDL_ISA
