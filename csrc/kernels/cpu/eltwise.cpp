// Vectors: arithmetic, sums, and the per-channel affine map (eltwise.h).
#include "kernels/eltwise.h"

#include <cstring>

#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/turn.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const EltwiseKernels eltwise;

namespace {

template <class T>
void fill(int64_t n, float value, T* y) {
  const Vec v = broadcast(value);
  map(n, kGrain, y, [=] { return v; });
}

template <class T>
void scale(int64_t n, float a, const T* x, T* y) {
  map(n, kGrain, y, [=](Vec v) { return a * v; }, x);
}

template <class T>
void axpby(int64_t n, float a, const T* x, float b, T* y) {
  if (b == 0) return scale(n, a, x, y);
  map(n, kGrain, y, [=](Vec v, Vec old) { return a * v + b * old; }, x, y);
}

template <class T>
void add(int64_t n, const T* a, const T* b, T* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return v + w; }, a, b);
}

template <class T>
void add_relu(int64_t n, const T* a, const T* b, T* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return relu(v + w); }, a, b);
}

template <class T>
void mul(int64_t n, const T* a, const T* b, T* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return v * w; }, a, b);
}

template <class T>
void div(int64_t n, const T* a, const T* b, T* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return v / w; }, a, b);
}

template <class T>
void max2(int64_t n, const T* a, const T* b, int32_t first, int32_t second, T* y, int32_t* index) {
  parallel_for_vectors(n, kGrain, [=](int64_t i, int64_t lanes) {
    const Vec v = load_some(a + i, lanes), w = load_some(b + i, lanes);
    const VecI is_first = v > w;
    store_some(y + i, select(is_first, v, w), lanes);
    store_some(index + i, select(is_first, broadcast(first), broadcast(second)), lanes);
  });
}

template <class T>
void max_with(int64_t n, const T* x, int32_t which, T* y, int32_t* index) {
  parallel_for_vectors(n, kGrain, [=](int64_t i, int64_t lanes) {
    const Vec v = load_some(x + i, lanes), old = load_some(y + i, lanes);
    const VecI is_greater = v > old;
    store_some(y + i, select(is_greater, v, old), lanes);
    const VecI old_index = load_some(index + i, lanes);
    store_some(index + i, select(is_greater, broadcast(which), old_index), lanes);
  });
}

template <class T>
void select_one(int64_t n, const T* dy, const int32_t* index, int32_t which, T* dx) {
  map(n, kGrain, dx, [=](Vec v, VecI i) { return select(i == which, v, Vec{}); }, dy, index);
}

// f(x, sums) adds to one sum.
template <int X, class T, class F>
PYDL_INLINE double sum_of(int64_t n, const Pointers<X, T>& x, const F& f) {
  double total;
  const auto add_up = [&](const Vec* v, const Vec*, Vec* sums) { sums[0] += f(v); };
  sum_channels<1>({1, 1, n}, x, Pointers<0>{}, add_up, &total);
  return total;
}

template <class T>
double sum(int64_t n, const T* x) {
  return sum_of(n, pointers(x), [](const Vec* v) { return v[0]; });
}

template <class T>
double asum(int64_t n, const T* x) {
  return sum_of(n, pointers(x), [](const Vec* v) { return abs(v[0]); });
}

template <class T>
double sumsq(int64_t n, const T* x) {
  return sum_of(n, pointers(x), [](const Vec* v) { return v[0] * v[0]; });
}

template <class T>
double dot(int64_t n, const T* a, const T* b) {
  return sum_of(n, pointers(a, b), [](const Vec* v) { return v[0] * v[1]; });
}

template <class T>
void affine_forward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* scale,
                    const float* bias, T* y) {
  const Channels s{outer, channels, inner};
  if (scale && bias) {
    map_channels(s, pointers(x), pointers(scale, bias), y,
                 [](const Vec* v, const Vec* p) { return v[0] * p[0] + p[1]; });
  } else if (scale) {
    map_channels(s, pointers(x), pointers(scale), y,
                 [](const Vec* v, const Vec* p) { return v[0] * p[0]; });
  } else if (bias) {
    map_channels(s, pointers(x), pointers(bias), y,
                 [](const Vec* v, const Vec* p) { return v[0] + p[0]; });
  } else {
    map(outer * channels * inner, kGrain, y, [](Vec v) { return v; }, x);
  }
}

template <class T>
void multiply_add(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* scale,
                  const T* z, T* y) {
  map_channels({outer, channels, inner}, pointers(x, z), pointers(scale), y,
               [](const Vec* v, const Vec* p) { return v[0] * p[0] + v[1]; });
}

template <class T>
void affine_backward_params(int64_t outer, int64_t channels, int64_t inner, const T* x, const T* dy,
                            float* dscale, float* dbias) {
  const Channels s{outer, channels, inner};
  const DoubleScratch sums(2 * channels);
  double* out = sums.data();
  if (dscale && dbias) {
    sum_channels<2>(
        s, pointers(dy, x), Pointers<0>{},
        [](const Vec* v, const Vec*, Vec* sum) {
          sum[0] += v[0];
          sum[1] += v[0] * v[1];
        },
        out);
    add_to(channels, out, dbias);
    add_to(channels, out + channels, dscale);
  } else if (dscale) {
    sum_channels<1>(
        s, pointers(dy, x), Pointers<0>{},
        [](const Vec* v, const Vec*, Vec* sum) { sum[0] += v[0] * v[1]; }, out);
    add_to(channels, out, dscale);
  } else if (dbias) {
    sum_channels<1>(
        s, pointers(dy), Pointers<0>{}, [](const Vec* v, const Vec*, Vec* sum) { sum[0] += v[0]; },
        out);
    add_to(channels, out, dbias);
  }
}

template <class T>
void copy(int64_t n, const T* x, T* y) {
  constexpr int64_t kBlock = 1024;
  parallel_for(ceil_div(n, kBlock), kGrain / kBlock, [=](int64_t begin, int64_t end) {
    const int64_t first = begin * kBlock, count = smaller(end * kBlock, n) - first;
    std::memcpy(y + first, x + first, static_cast<size_t>(count) * sizeof(T));
  });
}

void convert(int64_t n, ConstArray x, Array y) {
  with_type(x, [=](const auto* from) {
    with_type(y, [=](auto* to) { map(n, kGrain, to, [](Vec v) { return v; }, from); });
  });
}

// Rows so short that a vector for each would cost more than the copy.
template <int kRow, class T>
void copy_short_rows(int64_t rows, const T* x, int64_t x_stride, T* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(y + r * y_stride, x + r * x_stride, kRow * sizeof(T));
  }
}

template <class T>
void copy_rows(int64_t rows, int64_t row, const T* x, int64_t x_stride, T* y, int64_t y_stride) {
  if (rows <= 0 || row <= 0) return;
  if (rows == 1 || (x_stride == row && y_stride == row)) return copy(rows * row, x, y);
  parallel_for(rows, items_worth(kGrain, row), [=](int64_t begin, int64_t end) PYDL_FLATTEN {
    const T* first = x + begin * x_stride;
    T* target = y + begin * y_stride;
    if (row == 1) return copy_short_rows<1>(end - begin, first, x_stride, target, y_stride);
    if (row == 2) return copy_short_rows<2>(end - begin, first, x_stride, target, y_stride);
    if (row == 3) return copy_short_rows<3>(end - begin, first, x_stride, target, y_stride);
    if (row == 4) return copy_short_rows<4>(end - begin, first, x_stride, target, y_stride);
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * x_stride;
      T* to = y + r * y_stride;
      if (row > 8 * kLanes) {
        std::memcpy(to, from, static_cast<size_t>(row) * sizeof(T));
      } else {
        for_each_vector(
            0, row, [=](int64_t i, int64_t n) { store_some(to + i, load_some(from + i, n), n); });
      }
    }
  });
}

// y (n, columns, rows) from x (n, rows, columns), cut along the longer of the two.
template <class T>
void transpose_all(int64_t n, int64_t rows, int64_t columns, const T* x, T* y) {
  if (rows <= 1 || columns <= 1) return copy(n * rows * columns, x, y);
  const int64_t length = larger(rows, columns), width = smaller(rows, columns);
  const int64_t block = kLanes * items_worth(2 * kGrain, kLanes * width);
  const int64_t blocks = ceil_div(length, block);
  const int64_t grain = items_worth(kGrain, smaller(block, length) * width);
  parallel_for(n * blocks, grain, [=](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t matrix = item / blocks * rows * columns, first = item % blocks * block;
      const int64_t count = smaller(block, length - first);
      const bool wide = columns >= rows;
      const T* from = x + matrix + first * (wide ? 1 : columns);
      T* to = y + matrix + first * (wide ? rows : 1);
      if (wide && rows == 2) {
        interleave_rows<2>(count, from, columns, to);
      } else if (wide && rows == 3) {
        interleave_rows<3>(count, from, columns, to);
      } else if (wide && rows == 4) {
        interleave_rows<4>(count, from, columns, to);
      } else if (!wide && columns == 2) {
        separate_columns<2>(count, from, to, rows);
      } else if (!wide && columns == 3) {
        separate_columns<3>(count, from, to, rows);
      } else if (!wide && columns == 4) {
        separate_columns<4>(count, from, to, rows);
      } else {
        turn(wide ? rows : count, wide ? count : columns, from, columns, to, rows);
      }
    }
  });
}

template <class T>
void to_channels_last(int64_t n, int64_t c, int64_t s, const T* x, T* y) {
  transpose_all(n, c, s, x, y);
}

template <class T>
void to_plain(int64_t n, int64_t c, int64_t s, const T* x, T* y) {
  transpose_all(n, s, c, x, y);
}

}  // namespace

const EltwiseKernels eltwise = {PYDL_TYPED(fill),
                                PYDL_TYPED(scale),
                                PYDL_TYPED(axpby),
                                PYDL_TYPED(add),
                                PYDL_TYPED(add_relu),
                                PYDL_TYPED(mul),
                                PYDL_TYPED(div),
                                PYDL_TYPED(max2),
                                PYDL_TYPED(max_with),
                                PYDL_TYPED(select_one),
                                PYDL_TYPED(sum),
                                PYDL_TYPED(asum),
                                PYDL_TYPED(sumsq),
                                PYDL_TYPED(dot),
                                PYDL_TYPED(affine_forward),
                                PYDL_TYPED(multiply_add),
                                PYDL_TYPED(affine_backward_params),
                                PYDL_TYPED(copy_rows),
                                PYDL_TYPED(to_channels_last),
                                PYDL_TYPED(to_plain),
                                convert};

}  // namespace pydl::kernels::PYDL_ISA
