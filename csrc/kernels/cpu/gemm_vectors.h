// Products of a matrix and a few vectors, at the speed of memory: the matrix is read once, in
// place, four or eight of its rows at a time, and each vector of them meets all of the vectors.
#pragma once

#include <utility>

#include "kernels/cpu/gemm_pack.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

constexpr int kFewVectors = 4;

// Elements of A; the hardware's own prefetch stops at every page.
constexpr int64_t kAhead = 1024;

inline int threads_for(double work) { return work < kParallelWork ? 1 : num_threads(); }

// y (count, m) = x (count, k) op(A)^T + beta y, then the epilogue.
struct Vectors {
  int64_t count;
  ConstArray x;
  int64_t x_stride;
  Array y;
  int64_t y_stride;

  const float* x_row(int64_t v) const { return static_cast<const float*>(x.data) + v * x_stride; }
  float* y_row(int64_t v) const { return static_cast<float*>(y.data) + v * y_stride; }
};

// A (m, k): y[v, i] = a[i, :] . x[v, :] for the rows i.
template <int V, class T>
void dot_rows(const T* a, int64_t lda, Range rows, int64_t k, const Vectors& vectors, float beta,
              const Epilogue& epilogue) {
  constexpr int kRows = 4, kChains = V == 1 ? 2 : 1;  // sums that do not wait for each other
  const float* x[V];
  for (int v = 0; v < V; ++v) x[v] = vectors.x_row(v);
  for (int64_t i = rows.begin; i < rows.end; i += kRows) {
    const int64_t left = smaller(kRows, rows.end - i);
    const T* row[kRows];
    for (int r = 0; r < kRows; ++r) row[r] = a + (i + smaller(r, left - 1)) * lda;
    Vec acc[kRows][V][kChains] = {};
    const auto step = [&](int64_t p, int chain, auto load_at) __attribute__((always_inline)) {
      Vec of_x[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) of_x[v] = load_at(x[v] + p);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const Vec of_a = load_at(row[r] + p);
        __builtin_prefetch(row[r] + p + kAhead);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v][chain] += of_a * of_x[v];
      }
    };
    int64_t p = 0;
    for (; p + kChains * kLanes <= k; p += kChains * kLanes) {
#pragma GCC unroll 2
      for (int c = 0; c < kChains; ++c) {
        step(p + c * kLanes, c, [](const auto* from) { return load(from); });
      }
    }
    for (; p < k; p += kLanes) {
      const int64_t n = smaller(kLanes, k - p);
      step(p, 0, [n](const auto* from) { return load_n(from, n); });
    }
    for (int64_t r = 0; r < left; ++r) {
      for (int v = 0; v < V; ++v) {
        float* y = vectors.y_row(v) + i + r;
        float value = sum(kChains == 1 ? acc[r][v][0] : acc[r][v][0] + acc[r][v][kChains - 1]);
        if (epilogue.bias) value += epilogue.bias[i + r];
        if (beta != 0) value += beta * *y;
        *y = epilogue.relu ? epilogue.rectified(value) : value;
      }
    }
  }
}

// A (k, m): y[v, j] = sum over p of x[v, p] a[p, j] for the columns j.
template <int V, class T>
void add_rows(const T* a, int64_t lda, Range columns, int64_t k, const Vectors& vectors, float beta,
              const Epilogue& epilogue) {
  constexpr int kRows = 8;
  const float* x[V];
  for (int v = 0; v < V; ++v) x[v] = vectors.x_row(v);
  // f(y, its column, how many there are) for each vector of each y
  const auto each = [&](auto&& f) {
    for (int64_t j = columns.begin; j < columns.end; j += kLanes) {
      for (int v = 0; v < V; ++v) f(vectors.y_row(v) + j, j, smaller(kLanes, columns.end - j));
    }
  };
  each([&](float* y, int64_t j, int64_t n) {
    Vec sum = epilogue.bias ? load_n(epilogue.bias + j, n) : Vec{};
    if (beta != 0) sum += beta * load_n(y, n);
    store_n(y, sum, n);
  });
  const auto add = [&]<int R>(int64_t p) {
    for (int64_t j = columns.begin; j < columns.end; j += kLanes) {
      const int64_t n = smaller(kLanes, columns.end - j);
      Vec of_a[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        of_a[r] = load_n(a + (p + r) * lda + j, n);
        __builtin_prefetch(a + (p + r) * lda + j + kAhead);
      }
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        float* y = vectors.y_row(v) + j;
        Vec sum = load_n(y, n);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum += x[v][p + r] * of_a[r];
        store_n(y, sum, n);
      }
    }
  };
  int64_t p = 0;
  for (; p + kRows <= k; p += kRows) add.template operator()<kRows>(p);
  for (; p < k; ++p) add.template operator()<1>(p);
  if (!epilogue.relu) return;
  each([&](float* y, int64_t, int64_t n) { store_n(y, relu(load_n(y, n), epilogue.ceiling), n); });
}

template <int V, class T>
void multiply_floats(const T* a, int64_t stride, bool transposed, int64_t m, int64_t k,
                     const Vectors& vectors, float beta, const Epilogue& epilogue) {
  parallel(threads_for(static_cast<double>(m) * k * V), [&](int thread, int parts) {
    if (transposed) {
      add_rows<V>(a, stride, part_of(m, thread, parts, kLanes), k, vectors, beta, epilogue);
    } else {
      dot_rows<V>(a, stride, part_of(m, thread, parts, 4), k, vectors, beta, epilogue);
    }
  });
}

// To another type, or the same.
inline void copy_vector(int64_t n, ConstArray from, Array to) {
  with_type(from, [&](const auto* x) {
    with_type(to, [&](auto* y) {
      for (int64_t i = 0; i < n; i += kLanes) {
        store_n(y + i, load_n(x + i, smaller(n - i, kLanes)), smaller(n - i, kLanes));
      }
    });
  });
}

// op(A) (m, k), at most kFewVectors vectors. Those of bfloat16 are small beside A: they are taken
// as copies in float.
inline void multiply_vectors(const Operand& a, int64_t m, int64_t k, const Vectors& vectors,
                             float beta, const Epilogue& epilogue) {
  const bool copy_x = vectors.x.dtype != DType::kFloat32;
  const bool copy_y = vectors.y.dtype != DType::kFloat32;
  const int64_t x_size = copy_x ? vectors.count * aligned_size(k) : 0;
  const Scratch scratch(x_size + (copy_y ? vectors.count * aligned_size(m) : 0));
  Vectors floats = vectors;
  if (copy_x) {
    floats.x = scratch.data();
    floats.x_stride = aligned_size(k);
  }
  if (copy_y) {
    floats.y = scratch.data() + x_size;
    floats.y_stride = aligned_size(m);
  }
  for (int64_t v = 0; v < vectors.count; ++v) {
    if (copy_x)
      copy_vector(k, at(vectors.x, v * vectors.x_stride), const_cast<float*>(floats.x_row(v)));
    if (copy_y && beta != 0) copy_vector(m, at(vectors.y, v * vectors.y_stride), floats.y_row(v));
  }
  with_type(a.x, [&](const auto* data) {
    const auto run = [&]<int V>() {
      multiply_floats<V>(data, a.stride, a.transposed, m, k, floats, beta, epilogue);
    };
    switch (vectors.count) {
      case 1:
        return run.template operator()<1>();
      case 2:
        return run.template operator()<2>();
      case 3:
        return run.template operator()<3>();
      default:
        return run.template operator()<kFewVectors>();
    }
  });
  for (int64_t v = 0; copy_y && v < vectors.count; ++v) {
    copy_vector(m, floats.y_row(v), at(vectors.y, v * vectors.y_stride));
  }
}

}  // namespace pydl::kernels::PYDL_ISA
