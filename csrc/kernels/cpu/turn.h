// Transposing matrices of any size.
#pragma once

#include "kernels/cpu/map.h"
#include "kernels/cpu/transpose.h"

namespace pydl::kernels::PYDL_ISA {

// y (columns, rows) = x (rows, columns) transposed, up to kLanes each; strides between rows.
template <class X, class Y>
PYDL_INLINE void turn_square(int64_t rows, int64_t columns, const X* x, int64_t x_stride, Y* y,
                             int64_t y_stride) {
  Vec v[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) v[i] = i < rows ? load_some(x + i * x_stride, columns) : Vec{};
  transpose(v);
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; ++j) {
    if (j < columns) store_some(y + j * y_stride, v[j], rows);
  }
}

// As turn_square, of any size; row by row of y.
template <class X, class Y>
void turn(int64_t rows, int64_t columns, const X* x, int64_t x_stride, Y* y, int64_t y_stride) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int64_t width = smaller(kLanes, columns - j);
    for (int64_t i = 0; i < rows; i += kLanes) {
      const int64_t height = smaller(kLanes, rows - i);
      const X* from = x + i * x_stride + j;
      Y* to = y + j * y_stride + i;
      if (width == kLanes && height == kLanes) {
        turn_square(kLanes, kLanes, from, x_stride, to, y_stride);
      } else {
        turn_square(height, width, from, x_stride, to, y_stride);
      }
    }
  }
}

// A vector of C others' lanes: lane l is lane from(l) % kLanes of v[from(l) / kLanes].
template <int C, class From>
PYDL_INLINE Vec gather_lanes(const Vec (&v)[C], const From& from) {
  Vec y = v[0];
#pragma GCC unroll 4
  for (int c = 1; c < C; ++c) {
    VecI index;
#pragma GCC unroll 16
    for (int l = 0; l < kLanes; ++l) {
      const int source = from(l) / kLanes, lane = from(l) % kLanes;
      index[l] = source == c ? kLanes + lane : c == 1 && source == 0 ? lane : l;
    }
    y = __builtin_shuffle(y, v[c], index);
  }
  return y;
}

// y (n, C) from x (C, n): few rows, one beside the other.
template <int C, class T>
void interleave_rows(int64_t n, const T* x, int64_t x_stride, T* y) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = load(x + c * x_stride + i);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      store(y + C * i + c * kLanes, gather_lanes(v, [c](int lane) {
              const int k = c * kLanes + lane;
              return k % C * kLanes + k / C;
            }));
    }
  }
  for (; i < n; ++i) {
    for (int c = 0; c < C; ++c) y[C * i + c] = x[c * x_stride + i];
  }
}

// y (C, n) from x (n, C).
template <int C, class T>
void separate_columns(int64_t n, const T* x, T* y, int64_t y_stride) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) v[c] = load(x + C * i + c * kLanes);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      store(y + c * y_stride + i, gather_lanes(v, [c](int lane) { return lane * C + c; }));
    }
  }
  for (; i < n; ++i) {
    for (int c = 0; c < C; ++c) y[c * y_stride + i] = x[C * i + c];
  }
}

}  // namespace pydl::kernels::PYDL_ISA
