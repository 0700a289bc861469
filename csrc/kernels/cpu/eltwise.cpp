// Vectors: arithmetic, sums, and the per-channel affine map (eltwise.h).
#include "kernels/eltwise.h"

#include <cstring>

#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/turn.h"

namespace pydl::kernels::PYDL_ISA {

extern const EltwiseKernels eltwise;

namespace {

void fill(int64_t n, float value, float* y) {
  const Vec v = broadcast(value);
  map(n, kGrain, y, [=] { return v; });
}

void scale(int64_t n, float a, const float* x, float* y) {
  map(n, kGrain, y, [=](Vec v) { return a * v; }, x);
}

void axpby(int64_t n, float a, const float* x, float b, float* y) {
  if (b == 0) return scale(n, a, x, y);
  map(n, kGrain, y, [=](Vec v, Vec old) { return a * v + b * old; }, x, y);
}

void add(int64_t n, const float* a, const float* b, float* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return v + w; }, a, b);
}

void mul(int64_t n, const float* a, const float* b, float* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return v * w; }, a, b);
}

void div(int64_t n, const float* a, const float* b, float* y) {
  map(n, kGrain, y, [](Vec v, Vec w) { return v / w; }, a, b);
}

void max2(int64_t n, const float* a, const float* b, int32_t first, int32_t second, float* y,
          int32_t* index) {
  parallel_for_vectors(n, kGrain, [=](int64_t i, int64_t lanes) {
    const Vec v = load_some(a + i, lanes), w = load_some(b + i, lanes);
    const VecI is_first = v > w;
    store_some(y + i, select(is_first, v, w), lanes);
    store_some(index + i, select(is_first, broadcast(first), broadcast(second)), lanes);
  });
}

void max_with(int64_t n, const float* x, int32_t which, float* y, int32_t* index) {
  parallel_for_vectors(n, kGrain, [=](int64_t i, int64_t lanes) {
    const Vec v = load_some(x + i, lanes), old = load_some(y + i, lanes);
    const VecI is_greater = v > old;
    store_some(y + i, select(is_greater, v, old), lanes);
    const VecI old_index = load_some(index + i, lanes);
    store_some(index + i, select(is_greater, broadcast(which), old_index), lanes);
  });
}

void select_one(int64_t n, const float* dy, const int32_t* index, int32_t which, float* dx) {
  map(n, kGrain, dx, [=](Vec v, VecI i) { return select(i == which, v, Vec{}); }, dy, index);
}

// f(x, sums) adds to one sum.
template <int X, class F>
PYDL_INLINE double sum_of(int64_t n, const Pointers<X>& x, const F& f) {
  double total;
  const auto add_up = [&](const Vec* v, const Vec*, Vec* sums) { sums[0] += f(v); };
  sum_channels<1>({1, 1, n}, x, Pointers<0>{}, add_up, &total);
  return total;
}

double sum(int64_t n, const float* x) {
  return sum_of(n, pointers(x), [](const Vec* v) { return v[0]; });
}

double asum(int64_t n, const float* x) {
  return sum_of(n, pointers(x), [](const Vec* v) { return abs(v[0]); });
}

double sumsq(int64_t n, const float* x) {
  return sum_of(n, pointers(x), [](const Vec* v) { return v[0] * v[0]; });
}

double dot(int64_t n, const float* a, const float* b) {
  return sum_of(n, pointers(a, b), [](const Vec* v) { return v[0] * v[1]; });
}

void affine_forward(int64_t outer, int64_t channels, int64_t inner, const float* x,
                    const float* scale, const float* bias, float* y) {
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

void affine_backward_params(int64_t outer, int64_t channels, int64_t inner, const float* x,
                            const float* dy, float* dscale, float* dbias) {
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

void copy(int64_t n, const float* x, float* y) {
  constexpr int64_t kBlock = 1024;
  parallel_for(ceil_div(n, kBlock), kGrain / kBlock, [=](int64_t begin, int64_t end) {
    const int64_t first = begin * kBlock, count = smaller(end * kBlock, n) - first;
    std::memcpy(y + first, x + first, static_cast<size_t>(count) * sizeof(float));
  });
}

void copy_rows(int64_t rows, int64_t row, const float* x, int64_t x_stride, float* y,
               int64_t y_stride) {
  if (rows <= 0 || row <= 0) return;
  if (rows == 1 || (x_stride == row && y_stride == row)) return copy(rows * row, x, y);
  parallel_for(rows, items_worth(kGrain, row), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* from = x + r * x_stride;
      float* to = y + r * y_stride;
      if (row > 8 * kLanes) {
        std::memcpy(to, from, static_cast<size_t>(row) * sizeof(float));
      } else {
        for_each_vector(
            0, row, [=](int64_t i, int64_t n) { store_some(to + i, load_some(from + i, n), n); });
      }
    }
  });
}

// y (n, columns, rows) from x (n, rows, columns), cut along the longer of the two.
void transpose_all(int64_t n, int64_t rows, int64_t columns, const float* x, float* y) {
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
      const float* from = x + matrix + first * (wide ? 1 : columns);
      float* to = y + matrix + first * (wide ? rows : 1);
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

void to_channels_last(int64_t n, int64_t c, int64_t s, const float* x, float* y) {
  transpose_all(n, c, s, x, y);
}

void to_plain(int64_t n, int64_t c, int64_t s, const float* x, float* y) {
  transpose_all(n, s, c, x, y);
}

}  // namespace

const EltwiseKernels eltwise = {fill,
                                scale,
                                axpby,
                                add,
                                mul,
                                div,
                                max2,
                                max_with,
                                select_one,
                                sum,
                                asum,
                                sumsq,
                                dot,
                                affine_forward,
                                affine_backward_params,
                                copy_rows,
                                to_channels_last,
                                to_plain};

}  // namespace pydl::kernels::PYDL_ISA
