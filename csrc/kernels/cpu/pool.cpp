// Pooling (pool.h): channels-last, vectorised across channels. Plain planes are turned to
// channels-last kLanes at a time, in scratch that stays in cache.
//
// The backward passes gather: every position of dx asks the windows that cover it, so that no two
// threads write to one place.
#include "kernels/pool.h"

#include "kernels/cpu/tasks.h"
#include "kernels/cpu/turn.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const PoolKernels pool;

namespace {

struct Axis {
  int64_t in, out, kernel, stride, pad;

  // Window o within the input; empty if it lies outside.
  Range window(int64_t o) const {
    const int64_t begin = o * stride - pad;
    return {larger(begin, 0), smaller(begin + kernel, in)};
  }
  // Its size within the input and its padding.
  int64_t extent(int64_t o) const {
    const int64_t begin = o * stride - pad;
    return smaller(begin + kernel, in + pad) - begin;
  }
};

// The windows [begin, end) that cover a position, as it moves forward. No divisions.
class Cover {
 public:
  explicit Cover(const Axis& axis) : axis_(axis) {}
  Range move_to(int64_t i) {
    while (end_ < axis_.out && end_ * axis_.stride - axis_.pad <= i) ++end_;
    while (begin_ < end_ && begin_ * axis_.stride - axis_.pad + axis_.kernel <= i) ++begin_;
    return {begin_, end_};
  }

 private:
  const Axis& axis_;
  int64_t begin_ = 0, end_ = 0;
};

// 1 / n, without a division while n stays the same.
class Reciprocal {
 public:
  float of(int64_t n) {
    if (n != n_) {
      n_ = n;
      value_ = 1.0f / static_cast<float>(n);
    }
    return value_;
  }

 private:
  int64_t n_ = 1;
  float value_ = 1;
};

// Channels [c0, c1) of an image (H, W, step).
struct Strip {
  Axis rows, columns;
  int64_t step, c0, c1;
};

// body.operator()<NV>(c, n): for four vectors of channels from c on while there are as many, then
// for single ones, n lanes in the last.
template <class Body>
PYDL_INLINE void for_each_channel(const Strip& s, const Body& body) {
  int64_t c = s.c0;
  for (; c + 4 * kLanes <= s.c1; c += 4 * kLanes) body.template operator()<4>(c, kLanes);
  for (; c + kLanes <= s.c1; c += kLanes) body.template operator()<1>(c, kLanes);
  if (c < s.c1) body.template operator()<1>(c, s.c1 - c);
}

// ---- one vector group of one position ----

// x: the channels at (0, 0).
template <int NV, class T>
PYDL_INLINE void max_window(const Strip& s, Range rows, Range columns, const T* x, int64_t n, T* y,
                            int32_t* mask) {
  const int64_t width = s.columns.in, first = rows.begin * width + columns.begin;
  Vec best[NV];
  VecI index[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    best[v] = load_some(x + first * s.step + v * kLanes, n);
    index[v] = broadcast(static_cast<int32_t>(first));
  }
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    const int64_t row = h * width + columns.begin;
    const T* from = x + row * s.step;
    VecI here = broadcast(static_cast<int32_t>(row));
    for (int64_t w = columns.begin; w < columns.end; ++w, from += s.step, here += 1) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const Vec value = load_some(from + v * kLanes, n);
        const VecI greater = value > best[v];
        best[v] = select(greater, value, best[v]);
        index[v] = select(greater, here, index[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    store_some(y + v * kLanes, best[v], n);
    if (mask) store_some(mask + v * kLanes, index[v], n);
  }
}

template <int NV, class T>
PYDL_INLINE void mean_window(const Strip& s, Range rows, Range columns, float factor, const T* x,
                             int64_t n, T* y) {
  Vec total[NV] = {};
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    Vec row[NV] = {};  // of its own: two short sums are more accurate than a long one
    for (int64_t w = columns.begin; w < columns.end; ++w) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        row[v] += load_some(x + (h * s.columns.in + w) * s.step + v * kLanes, n);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) total[v] += row[v];
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(y + v * kLanes, total[v] * factor, n);
}

// The sum of dy over the windows [rows) x [columns) whose maximum is at `index`.
template <int NV, class T>
PYDL_INLINE void gather_max(const Strip& s, Range rows, Range columns, int64_t index, const T* dy,
                            const int32_t* mask, int64_t n, T* dx) {
  const VecI here = broadcast(static_cast<int32_t>(index));
  Vec sum[NV] = {};
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const int64_t at = (h * s.columns.out + w) * s.step;
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const VecI is_here = load_some(mask + at + v * kLanes, n) == here;
        sum[v] += select(is_here, load_some(dy + at + v * kLanes, n), Vec{});
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(dx + v * kLanes, sum[v], n);
}

template <int NV, class T>
PYDL_INLINE void gather_mean(const Strip& s, Range rows, Range columns, Reciprocal& reciprocal,
                             const T* dy, int64_t n, T* dx) {
  Vec sum[NV] = {};
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    const int64_t extent = s.rows.extent(h);
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const Vec factor = broadcast(reciprocal.of(extent * s.columns.extent(w)));
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const int64_t at = (h * s.columns.out + w) * s.step + v * kLanes;
        sum[v] += load_some(dy + at, n) * factor;
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(dx + v * kLanes, sum[v], n);
}

// ---- one row of one image ----

template <class T>
void clear_position(const Strip& s, T* y, int32_t* mask) {
  for (int64_t c = s.c0; c < s.c1; ++c) {
    y[c] = 0.0f;
    if (mask) mask[c] = -1;
  }
}

bool is_empty(Range r) { return r.begin >= r.end; }

template <class T>
[[gnu::flatten]] void max_row(const Strip& s, int64_t oh, const T* x, T* y, int32_t* mask) {
  const Range rows = s.rows.window(oh);
  for (int64_t ow = 0; ow < s.columns.out; ++ow) {
    const Range columns = s.columns.window(ow);
    T* to = y + (oh * s.columns.out + ow) * s.step;
    int32_t* to_mask = mask ? mask + (oh * s.columns.out + ow) * s.step : nullptr;
    if (is_empty(rows) || is_empty(columns)) {
      clear_position(s, to, to_mask);
      continue;
    }
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      max_window<NV>(s, rows, columns, x + c, n, to + c, to_mask ? to_mask + c : nullptr);
    });
  }
}

template <class T>
[[gnu::flatten]] void mean_row(const Strip& s, int64_t oh, const T* x, T* y) {
  const Range rows = s.rows.window(oh);
  Reciprocal reciprocal;
  for (int64_t ow = 0; ow < s.columns.out; ++ow) {
    const Range columns = s.columns.window(ow);
    const int64_t size = s.rows.extent(oh) * s.columns.extent(ow);
    const bool empty = is_empty(rows) || is_empty(columns);
    const float factor = empty ? 0 : reciprocal.of(size);
    T* to = y + (oh * s.columns.out + ow) * s.step;
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      mean_window<NV>(s, rows, columns, factor, x + c, n, to + c);
    });
  }
}

template <class T>
[[gnu::flatten]] void max_row_backward(const Strip& s, int64_t h, const T* dy, const int32_t* mask,
                                       T* dx) {
  const Range rows = Cover(s.rows).move_to(h);
  Cover cover(s.columns);
  for (int64_t w = 0; w < s.columns.in; ++w) {
    const Range columns = cover.move_to(w);
    const int64_t index = h * s.columns.in + w;
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      gather_max<NV>(s, rows, columns, index, dy + c, mask + c, n, dx + index * s.step + c);
    });
  }
}

template <class T>
[[gnu::flatten]] void mean_row_backward(const Strip& s, int64_t h, const T* dy, T* dx) {
  const Range rows = Cover(s.rows).move_to(h);
  Cover cover(s.columns);
  Reciprocal reciprocal;
  for (int64_t w = 0; w < s.columns.in; ++w) {
    const Range columns = cover.move_to(w);
    T* to = dx + (h * s.columns.in + w) * s.step;
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      gather_mean<NV>(s, rows, columns, reciprocal, dy + c, n, to + c);
    });
  }
}

// ---- all images ----

Strip strip_of(const PoolShape& s, int64_t step, int64_t c0, int64_t c1) {
  return {{s.h, s.oh, s.kernel_h, s.stride_h, s.pad_h},
          {s.w, s.ow, s.kernel_w, s.stride_w, s.pad_w},
          step,
          c0,
          c1};
}

// body(strip, image, row): channels are split among threads too where there are few rows.
template <class Body>
PYDL_INLINE void for_each_row(const PoolShape& s, int64_t rows, int64_t work, const Body& body) {
  const int64_t block = s.n * rows < 16 ? smaller(s.c, 4 * kLanes) : s.c;
  const int64_t blocks = ceil_div(s.c, block);
  const int64_t grain = items_worth(kGrain, work * block);
  parallel_for(s.n * rows * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / blocks, c0 = item % blocks * block;
      body(strip_of(s, s.c, c0, smaller(c0 + block, s.c)), row / rows, row % rows);
    }
  });
}

// body(strip, first plane, scratch): groups of up to kLanes planes.
template <class Body>
PYDL_INLINE void for_each_group(const PoolShape& s, int64_t floats, const Body& body) {
  const int64_t planes = s.n * s.c, work = kLanes * (s.h * s.w + s.oh * s.ow);
  parallel_for_scratch(ceil_div(planes, kLanes), items_worth(kGrain, work), floats,
                       [&](int64_t begin, int64_t end, float* scratch) {
                         for (int64_t group = begin; group < end; ++group) {
                           const int64_t first = group * kLanes;
                           const int64_t n = smaller(kLanes, planes - first);
                           body(strip_of(s, kLanes, 0, n), first, scratch);
                         }
                       });
}

// Planes (n, size) to and from (size, kLanes).
template <class T>
void planes_in(const Strip& s, int64_t size, const T* planes, float* last) {
  turn(s.c1, size, planes, size, last, kLanes);
}
template <class T>
void planes_out(const Strip& s, int64_t size, const float* last, T* planes) {
  turn(size, s.c1, last, kLanes, planes, size);
}

// Moving the bits of a mask is moving floats.
const float* bits(const int32_t* mask) { return reinterpret_cast<const float*>(mask); }
float* bits(int32_t* mask) { return reinterpret_cast<float*>(mask); }

template <class T>
void max_forward(const PoolShape& s, const T* x, T* y, int32_t* mask) {
  const int64_t in = s.h * s.w, out = s.oh * s.ow;
  if (s.channels_last) {
    const int64_t work = s.ow * s.kernel_h * s.kernel_w;
    for_each_row(s, s.oh, work, [=](const Strip& strip, int64_t n, int64_t oh) {
      int32_t* to = mask ? mask + n * out * strip.step : nullptr;
      max_row(strip, oh, x + n * in * strip.step, y + n * out * strip.step, to);
    });
    return;
  }
  for_each_group(s, kLanes * (in + 2 * out), [=](const Strip& strip, int64_t plane, float* t) {
    float* ty = t + kLanes * in;
    int32_t* tmask = reinterpret_cast<int32_t*>(ty + kLanes * out);
    planes_in(strip, in, x + plane * in, t);
    for (int64_t oh = 0; oh < s.oh; ++oh) max_row(strip, oh, t, ty, mask ? tmask : nullptr);
    planes_out(strip, out, ty, y + plane * out);
    if (mask) planes_out(strip, out, bits(tmask), bits(mask + plane * out));
  });
}

template <class T>
void max_backward(const PoolShape& s, const T* dy, const int32_t* mask, T* dx) {
  const int64_t in = s.h * s.w, out = s.oh * s.ow;
  if (s.channels_last) {
    for_each_row(s, s.h, 2 * s.w, [=](const Strip& strip, int64_t n, int64_t h) {
      const int64_t at = n * out * strip.step;
      max_row_backward(strip, h, dy + at, mask + at, dx + n * in * strip.step);
    });
    return;
  }
  for_each_group(s, kLanes * (in + 2 * out), [=](const Strip& strip, int64_t plane, float* t) {
    float* tdy = t + kLanes * in;
    int32_t* tmask = reinterpret_cast<int32_t*>(tdy + kLanes * out);
    planes_in(strip, out, dy + plane * out, tdy);
    planes_in(strip, out, bits(mask + plane * out), bits(tmask));
    for (int64_t h = 0; h < s.h; ++h) max_row_backward(strip, h, tdy, tmask, t);
    planes_out(strip, in, t, dx + plane * in);
  });
}

template <class T>
void ave_forward(const PoolShape& s, const T* x, T* y) {
  const int64_t in = s.h * s.w, out = s.oh * s.ow;
  if (s.channels_last) {
    const int64_t work = s.ow * s.kernel_h * s.kernel_w;
    for_each_row(s, s.oh, work, [=](const Strip& strip, int64_t n, int64_t oh) {
      mean_row(strip, oh, x + n * in * strip.step, y + n * out * strip.step);
    });
    return;
  }
  for_each_group(s, kLanes * (in + out), [=](const Strip& strip, int64_t plane, float* t) {
    float* ty = t + kLanes * in;
    planes_in(strip, in, x + plane * in, t);
    for (int64_t oh = 0; oh < s.oh; ++oh) mean_row(strip, oh, t, ty);
    planes_out(strip, out, ty, y + plane * out);
  });
}

template <class T>
void ave_backward(const PoolShape& s, const T* dy, T* dx) {
  const int64_t in = s.h * s.w, out = s.oh * s.ow;
  if (s.channels_last) {
    for_each_row(s, s.h, 2 * s.w, [=](const Strip& strip, int64_t n, int64_t h) {
      mean_row_backward(strip, h, dy + n * out * strip.step, dx + n * in * strip.step);
    });
    return;
  }
  for_each_group(s, kLanes * (in + out), [=](const Strip& strip, int64_t plane, float* t) {
    float* tdy = t + kLanes * in;
    planes_in(strip, out, dy + plane * out, tdy);
    for (int64_t h = 0; h < s.h; ++h) mean_row_backward(strip, h, tdy, t);
    planes_out(strip, in, t, dx + plane * in);
  });
}

}  // namespace

const PoolKernels pool = {PYDL_TYPED(max_forward), PYDL_TYPED(max_backward),
                          PYDL_TYPED(ave_forward), PYDL_TYPED(ave_backward)};

}  // namespace pydl::kernels::PYDL_ISA
