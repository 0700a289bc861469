// What the passes of a Winograd convolution share: tiles, the matrices of each point, and V.
#pragma once

#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/window.h"
#include "kernels/cpu/winograd_transform.h"
#include "kernels/winograd.h"

namespace pydl::kernels::PYDL_ISA {

template <class F>
constexpr int kPoints2 = F::kPoints * F::kPoints;

struct Tile {
  int64_t image, row, column;  // of its first output
};

inline Tile tile_at(const WinogradTiles& t, int64_t index) {
  const int64_t image = index / (t.rows * t.columns), rest = index % (t.rows * t.columns);
  return {image, rest / t.columns * t.size, rest % t.columns * t.size};
}

// A matrix for each point: V (tiles, ic) or M (tiles, oc).
struct Matrices {
  float* data;
  int64_t row, point;  // strides
};

// Rows and points begin at odd multiples of 64 bytes from each other, in different sets of a cache.
constexpr int64_t odd_stride(int64_t floats) { return (ceil_div(floats, 16) | 1) * 16; }

inline Matrices make_matrices(float* data, int64_t tiles, int64_t columns) {
  const int64_t row = odd_stride(columns);
  return {data, row, odd_stride(tiles * row)};
}

// ---- U: for each group and panel of output channels (points, ic, width) ----

struct Panel {
  int64_t group, column, columns;
  int64_t width, point;  // in U: of a row, and from point to point
  int64_t u, m;          // where it starts in U, and its columns in a row of M
};

template <class F>
struct Panels {
  explicit Panels(const Correlation& c)
      : c(c),
        per_group(ceil_div(c.oc, kNR)),
        count(c.group * per_group),
        m_columns(round_up(c.oc, kLanes)),
        size(kPoints2<F> * odd_stride(c.ic * kNR)) {}

  Panel at(int64_t index) const {
    const int64_t group = index / per_group, column = index % per_group * kNR;
    const int64_t columns = smaller(kNR, c.oc - column), width = panel_width(columns);
    return {group,
            column,
            columns,
            width,
            odd_stride(c.ic * width),
            index * size,
            group * m_columns + column};
  }

  const Correlation& c;
  const int64_t per_group, count;
  const int64_t m_columns;  // of a group, in M
  const int64_t size;       // of a whole panel
};

// ---- V = B^T d B ----

// Where the inputs of a tile are: for each its channels, or zeros (of whichever type).
template <int N, class T>
struct Pixels {
  const T* at[N][N];
};

// N x N pixels of an image (height, width, pixel) from (row, column) on.
template <int N, class T>
PYDL_INLINE Pixels<N, T> pixels_at(const T* image, int64_t height, int64_t width, int64_t pixel,
                                   int64_t row, int64_t column, const float* zeros) {
  Pixels<N, T> p;
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) {
      const int64_t y = row + i, x = column + j;
      const bool inside = y >= 0 && y < height && x >= 0 && x < width;
      p.at[i][j] = inside ? image + (y * width + x) * pixel : reinterpret_cast<const T*>(zeros);
    }
  }
  return p;
}

// For one vector of channels: all points of one tile. The corners of V see every input.
template <class F, class T>
PYDL_INLINE void input_vector(const Pixels<F::kPoints, T>& p, int64_t channel, int64_t n,
                              const Matrices& to, Vec& seen) {
  constexpr int kLast = F::kPoints - 1;
  Vec d[F::kPoints][F::kPoints], v[F::kPoints][F::kPoints];
#pragma GCC unroll 6
  for (int i = 0; i < F::kPoints; ++i) {
#pragma GCC unroll 6
    for (int j = 0; j < F::kPoints; ++j) d[i][j] = load_some(p.at[i][j] + channel, n);
  }
  along_both<F::input>(d, v);
#pragma GCC unroll 36
  for (int j = 0; j < kPoints2<F>; ++j) {
    store(to.data + j * to.point + channel, v[j / F::kPoints][j % F::kPoints]);
  }
  note_not_finite(v[0][0], seen);
  note_not_finite(v[0][kLast], seen);
  note_not_finite(v[kLast][0], seen);
  note_not_finite(v[kLast][kLast], seen);
}

// Rows of V for the tiles `range`, of which v's first row is the first.
template <class F, class T>
void transform_input_of(const Correlation& c, const WinogradTiles& tiles, Range range, const T* src,
                        const float* zeros, Matrices v, uint8_t* skipped) {
  const auto& [a0, a1, a2] = c.axis;
  const int64_t pixel = c.group * c.ic;
  for (int64_t i = range.begin; i < range.end; ++i, v.data += v.row) {
    const Tile t = tile_at(tiles, i);
    const auto p =
        pixels_at<F::kPoints>(src + t.image * a1.src * a2.src * pixel, a1.src, a2.src, pixel,
                              a1.src_first + t.row, a2.src_first + t.column, zeros);
    Vec seen{};
    for_each_vector(0, pixel,
                    [&](int64_t channel, int64_t n) { input_vector<F>(p, channel, n, v, seen); });
    skipped[i] = any_not_finite(seen);
  }
}

template <class F>
void transform_input(const Correlation& c, const WinogradTiles& tiles, Range range, ConstArray src,
                     const float* zeros, const Matrices& v, uint8_t* skipped) {
  with_type(src, [&](const auto* from) {
    transform_input_of<F>(c, tiles, range, from, zeros, v, skipped);
  });
}

}  // namespace pydl::kernels::PYDL_ISA
