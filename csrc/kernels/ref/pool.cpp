// The definition of pooling (pool.h): plain loops over windows.
#include "kernels/pool.h"

#include <algorithm>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const PoolKernels pool;

namespace {

struct Range {
  int64_t first;       // where it starts, perhaps in the padding
  int64_t begin, end;  // within the input
  int64_t size;        // within the input, and its padding where that counts
};

Range range_of(const PoolAxis& a, int64_t out) {
  const int64_t first = out * a.stride - a.pad, end = std::min(first + a.kernel, a.in + a.pad);
  const int64_t begin = std::max<int64_t>(first, 0), last = std::min(end, a.in);
  return {first, begin, last, a.padding_counts ? end - first : last - begin};
}

struct Window {
  Range d, h, w;

  int64_t size() const { return d.size * h.size * w.size; }
  bool empty() const { return d.begin >= d.end || h.begin >= h.end || w.begin >= w.end; }

  // body(position in the window, position in the plane), in row-major order
  template <class Body>
  void each(const PoolShape& s, const Body& body) const {
    for (int64_t i = d.begin; i < d.end; ++i) {
      for (int64_t j = h.begin; j < h.end; ++j) {
        for (int64_t k = w.begin; k < w.end; ++k) {
          body(((i - d.first) * s.h.kernel + j - h.first) * s.w.kernel + k - w.first,
               (i * s.h.in + j) * s.w.in + k);
        }
      }
    }
  }
};

// body(index in y, where the plane starts in x, stride of its positions, window)
template <class Body>
void for_each_window(const PoolShape& s, const Body& body) {
  const int64_t step = s.channels_last ? s.c : 1, in = s.in_count(), out = s.out_count();
  for (int64_t plane = 0; plane < s.n * s.c; ++plane) {
    const int64_t n = plane / s.c, c = plane % s.c;
    const int64_t x = s.channels_last ? n * in * s.c + c : plane * in;
    const int64_t y = s.channels_last ? n * out * s.c + c : plane * out;
    for (int64_t o = 0; o < out; ++o) {
      const int64_t ow = o % s.w.out, oh = o / s.w.out % s.h.out, od = o / s.w.out / s.h.out;
      body(y + o * step, x, step, Window{range_of(s.d, od), range_of(s.h, oh), range_of(s.w, ow)});
    }
  }
}

template <class T>
void max_forward(const PoolShape& s, const T* x, T* y, std::byte* mask) {
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    float best = 0;
    int64_t index = kNoMaximum;
    window.each(s, [&](int64_t position, int64_t at) {
      const float value = x[plane + at * step];
      if (index >= 0 && !(value > best)) return;
      best = value;
      index = position;
    });
    y[out] = best;
    if (!mask) return;
    with_mask(s, mask, [&](auto* m) { m[out] = static_cast<std::decay_t<decltype(*m)>>(index); });
  });
}

template <class T>
void max_backward(const PoolShape& s, const T* dy, const std::byte* mask, T* dx) {
  std::vector<double> sum(static_cast<size_t>(s.n * s.c * s.in_count()));
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    window.each(s, [&](int64_t position, int64_t at) {
      const bool here = with_mask(s, mask, [&](const auto* m) { return m[out] == position; });
      if (here) sum[static_cast<size_t>(plane + at * step)] += dy[out];
    });
  });
  for (size_t i = 0; i < sum.size(); ++i) dx[i] = static_cast<float>(sum[i]);
}

template <class T>
void ave_forward(const PoolShape& s, const T* x, T* y) {
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    double sum = 0;
    window.each(s, [&](int64_t, int64_t at) { sum += x[plane + at * step]; });
    y[out] = window.empty() ? 0 : static_cast<float>(sum / static_cast<double>(window.size()));
  });
}

template <class T>
void ave_backward(const PoolShape& s, const T* dy, T* dx) {
  std::vector<double> sum(static_cast<size_t>(s.n * s.c * s.in_count()));
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    const double part = dy[out] / static_cast<double>(window.size());
    window.each(s,
                [&](int64_t, int64_t at) { sum[static_cast<size_t>(plane + at * step)] += part; });
  });
  for (size_t i = 0; i < sum.size(); ++i) dx[i] = static_cast<float>(sum[i]);
}

// Of windows as each() visits them.
double sum_of(const PoolShape& s, const Window& window, int64_t plane, const float* x) {
  double sum = 0;
  window.each(s, [&](int64_t, int64_t at) { sum += x[plane + at * s.c]; });
  return sum;
}

void sample_forward(const PoolShape& s, const float* x, const float* random, float* y,
                    std::byte* mask) {
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    const double threshold = random[out] * sum_of(s, window, plane, x);
    double sum = 0;
    int64_t taken = kNoMaximum;
    y[out] = 0;
    window.each(s, [&](int64_t position, int64_t at) {
      if (taken >= 0 && sum > threshold) return;
      sum += y[out] = x[plane + at * step];
      taken = position;
    });
    with_mask(s, mask, [&](auto* m) { m[out] = static_cast<std::decay_t<decltype(*m)>>(taken); });
  });
}

void expect_forward(const PoolShape& s, const float* x, float* y) {
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    double squares = 0;
    window.each(s, [&](int64_t, int64_t at) {
      squares += double{x[plane + at * step]} * x[plane + at * step];
    });
    const double sum = sum_of(s, window, plane, x);
    y[out] = sum > 0 ? static_cast<float>(squares / sum) : 0;
  });
}

void expect_backward(const PoolShape& s, const float* x, const float* y, const float* dy,
                     float* dx) {
  std::vector<double> total(static_cast<size_t>(s.n * s.c * s.in_count()));
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, const Window& window) {
    const double sum = sum_of(s, window, plane, x);
    if (!(sum > 0)) return;
    window.each(s, [&](int64_t, int64_t at) {
      const int64_t i = plane + at * step;
      total[static_cast<size_t>(i)] += dy[out] / sum * (2 * double{x[i]} - y[out]);
    });
  });
  for (size_t i = 0; i < total.size(); ++i) dx[i] = static_cast<float>(total[i]);
}

}  // namespace

const PoolKernels pool = {PYDL_TYPED(max_forward), PYDL_TYPED(max_backward),
                          PYDL_TYPED(ave_forward), PYDL_TYPED(ave_backward),
                          sample_forward,          expect_forward,
                          expect_backward};

}  // namespace pydl::kernels::ref
