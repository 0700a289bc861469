// Pooling (pool.h): channels-last, vectorised across channels. Plain planes are turned to
// channels-last kLanes at a time, in scratch that stays in cache.
//
// The backward passes gather: every position of dx asks the windows that cover it, so that no two
// threads write to one place.
#include "kernels/pool.h"

#include "kernels/cpu/bytes.h"
#include "kernels/cpu/tasks.h"
#include "kernels/cpu/turn.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const PoolKernels pool;

namespace {

struct Axis : PoolAxis {
  int64_t first(int64_t o) const { return o * stride - pad; }
  // Window o within the input; empty if it lies outside.
  Range window(int64_t o) const { return {larger(first(o), 0), smaller(first(o) + kernel, in)}; }
  // What counts of its size.
  int64_t extent(int64_t o) const {
    if (!padding_counts) return window(o).end - window(o).begin;
    return smaller(first(o) + kernel, in + pad) - first(o);
  }
};

// The windows [begin, end) that cover a position, as it moves forward. One division in all.
class Cover {
 public:
  explicit Cover(const Axis& axis) : axis_(axis) {}
  Range move_to(int64_t i) {
    if (end_ == 0) start_at(i);
    while (end_ < axis_.out && end_ * axis_.stride - axis_.pad <= i) ++end_;
    while (begin_ < end_ && begin_ * axis_.stride - axis_.pad + axis_.kernel <= i) ++begin_;
    return {begin_, end_};
  }

 private:
  void start_at(int64_t i) {
    const int64_t ended = i + axis_.pad - axis_.kernel;  // so have windows that begin up to here
    if (ended >= 0) begin_ = end_ = smaller(ended / axis_.stride + 1, axis_.out);
  }

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

// Channels [c0, c1) of an image (D, H, W, step).
struct Strip {
  Axis d, h, w;
  int64_t step, c0, c1;
};

// A box of positions: those of a window that are inside of the input, or the windows that cover a
// position.
struct Box {
  Range d, h, w;

  bool empty() const { return d.begin >= d.end || h.begin >= h.end || w.begin >= w.end; }
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

// The same without the groups of four: less code.
template <class Body>
PYDL_INLINE void for_each_vector_of(const Strip& s, const Body& body) {
  for (int64_t c = s.c0; c < s.c1; c += kLanes) body(c, smaller(kLanes, s.c1 - c));
}

// ---- one vector group of one position ----

// body(at, here) for each position of a box, in row-major order: where its channels are, and its
// number in the window, in all lanes. x: the channels at (0, 0, 0); `first`: the number of the
// first position.
template <class T, class Body>
PYDL_INLINE void for_each_position(const Strip& s, const Box& box, int64_t first, const T* x,
                                   const Body& body) {
  const T* plane = x + ((box.d.begin * s.h.in + box.h.begin) * s.w.in + box.w.begin) * s.step;
  for (int64_t d = box.d.begin; d < box.d.end; ++d) {
    const T* row = plane;
    int64_t number = first;
    for (int64_t h = box.h.begin; h < box.h.end; ++h) {
      VecI here = broadcast(static_cast<int32_t>(number));
      const T* at = row;
      for (int64_t w = box.w.begin; w < box.w.end; ++w, at += s.step, here += 1) body(at, here);
      row += s.w.in * s.step;
      number += s.w.kernel;
    }
    plane += s.h.in * s.w.in * s.step;
    first += s.h.kernel * s.w.kernel;
  }
}

// In place of a mask that nobody wants.
struct NoMask {
  NoMask() = default;
  explicit NoMask(const int32_t*) {}
  NoMask operator+(int64_t) const { return {}; }
};
template <class Mask>
constexpr bool is_wanted = !std::is_same_v<Mask, NoMask>;

template <int NV, class T>
PYDL_INLINE void max_window(const Strip& s, const Box& box, int64_t first, const T* x, int64_t n,
                            T* y, NoMask) {
  const T* start = x + ((box.d.begin * s.h.in + box.h.begin) * s.w.in + box.w.begin) * s.step;
  Vec best[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) best[v] = load_some(start + v * kLanes, n);
  for_each_position(s, box, first, x, [&](const T* at, VecI) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) best[v] = max(load_some(at + v * kLanes, n), best[v]);
  });
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(y + v * kLanes, best[v], n);
}

template <int NV, class T, class M>
PYDL_INLINE void max_window(const Strip& s, const Box& box, int64_t first, const T* x, int64_t n,
                            T* y, M* mask) {
  const T* start = x + ((box.d.begin * s.h.in + box.h.begin) * s.w.in + box.w.begin) * s.step;
  Vec best[NV];
  VecI index[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    best[v] = load_some(start + v * kLanes, n);
    index[v] = broadcast(static_cast<int32_t>(first));
  }
  for_each_position(s, box, first, x, [&](const T* at, VecI here) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      const Vec value = load_some(at + v * kLanes, n);
      const VecI greater = value > best[v];
      best[v] = select(greater, value, best[v]);
      index[v] = select(greater, here, index[v]);
    }
  });
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    store_some(y + v * kLanes, best[v], n);
    store_some(mask + v * kLanes, index[v], n);
  }
}

PYDL_INLINE Vec sum_window(const Strip& s, const Box& box, const float* x, int64_t n) {
  Vec sum{};
  for_each_position(s, box, 0, x, [&](const float* at, VecI) { sum += load_n(at, n); });
  return sum;
}

template <class M>
PYDL_INLINE void sample_window(const Strip& s, const Box& box, int64_t first, const float* x,
                               const float* random, int64_t n, float* y, M* mask) {
  const Vec threshold = sum_window(s, box, x, n) * load_n(random, n);
  Vec sum{}, taken{};
  VecI index{}, decided{};
  for_each_position(s, box, first, x, [&](const float* at, VecI here) {
    const Vec value = load_n(at, n);
    taken = select(decided, taken, value);
    index = select(decided, index, here);
    sum += value;
    decided |= sum > threshold;
  });
  store_n(y, taken, n);
  store_n(mask, index, n);
}

PYDL_INLINE void expect_window(const Strip& s, const Box& box, const float* x, int64_t n,
                               float* y) {
  Vec sum{}, squares{};
  for_each_position(s, box, 0, x, [&](const float* at, VecI) {
    const Vec value = load_n(at, n);
    sum += value;
    squares += value * value;
  });
  store_n(y, select(sum > Vec{}, squares / sum, Vec{}), n);
}

// dy / sum x, 0 where the sum is not positive.
PYDL_INLINE void share_window(const Strip& s, const Box& box, const float* x, const float* dy,
                              int64_t n, float* share) {
  const Vec sum = sum_window(s, box, x, n);
  store_n(share, select(sum > Vec{}, load_n(dy, n) / sum, Vec{}), n);
}

template <int NV, class T>
PYDL_INLINE void mean_window(const Strip& s, const Box& box, float factor, const T* x, int64_t n,
                             T* y) {
  Vec total[NV] = {};
  for (int64_t d = box.d.begin; d < box.d.end; ++d) {
    for (int64_t h = box.h.begin; h < box.h.end; ++h) {
      const T* row = x + (d * s.h.in + h) * s.w.in * s.step;
      Vec sum[NV] = {};  // of its own: short sums are more accurate than a long one
      for (int64_t w = box.w.begin; w < box.w.end; ++w) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[v] += load_some(row + w * s.step + v * kLanes, n);
      }
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) total[v] += sum[v];
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(y + v * kLanes, total[v] * factor, n);
}

// The sum of dy over the windows of a box whose maximum is at a position. `number`: what that has
// in the windows whose first is the input's, (0, 0, 0).
template <int NV, class T, class M>
PYDL_INLINE void gather_max(const Strip& s, const Box& box, int64_t number, const T* dy,
                            const M* mask, int64_t n, T* dx) {
  Vec sum[NV] = {};
  for (int64_t d = box.d.begin; d < box.d.end; ++d) {
    for (int64_t h = box.h.begin; h < box.h.end; ++h) {
      const int64_t first = (s.d.first(d) * s.h.kernel + s.h.first(h)) * s.w.kernel;
      VecI here = broadcast(static_cast<int32_t>(number - first - s.w.first(box.w.begin)));
      int64_t at = ((d * s.h.out + h) * s.w.out + box.w.begin) * s.step;
      for (int64_t w = box.w.begin; w < box.w.end; ++w, at += s.step) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) {
          const VecI is_here = load_some(mask + at + v * kLanes, n) == here;
          sum[v] += select(is_here, load_some(dy + at + v * kLanes, n), Vec{});
        }
        here -= static_cast<int32_t>(s.w.stride);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(dx + v * kLanes, sum[v], n);
}

template <int NV, class T>
PYDL_INLINE void gather_mean(const Strip& s, const Box& box, Reciprocal& reciprocal, const T* dy,
                             int64_t n, T* dx) {
  Vec sum[NV] = {};
  for (int64_t d = box.d.begin; d < box.d.end; ++d) {
    for (int64_t h = box.h.begin; h < box.h.end; ++h) {
      const int64_t extent = s.d.extent(d) * s.h.extent(h);
      for (int64_t w = box.w.begin; w < box.w.end; ++w) {
        const Vec factor = broadcast(reciprocal.of(extent * s.w.extent(w)));
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) {
          const int64_t at = ((d * s.h.out + h) * s.w.out + w) * s.step + v * kLanes;
          sum[v] += load_some(dy + at, n) * factor;
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) store_some(dx + v * kLanes, sum[v], n);
}

// The sum over the windows of a box of share (2 x - y).
PYDL_INLINE void gather_shares(const Strip& s, const Box& box, const float* x, const float* y,
                               const float* share, int64_t n, float* dx) {
  const Vec twice = 2.0f * load_n(x, n);
  Vec sum{};
  for (int64_t d = box.d.begin; d < box.d.end; ++d) {
    for (int64_t h = box.h.begin; h < box.h.end; ++h) {
      for (int64_t w = box.w.begin; w < box.w.end; ++w) {
        const int64_t at = ((d * s.h.out + h) * s.w.out + w) * s.step;
        sum += load_n(share + at, n) * (twice - load_n(y + at, n));
      }
    }
  }
  store_n(dx, sum, n);
}

// ---- one row of one image, which is one of (D, H) or of (OD, OH) ----

template <class T, class Mask>
void clear_position(const Strip& s, T* y, Mask mask) {
  for (int64_t c = s.c0; c < s.c1; ++c) {
    y[c] = 0.0f;
    if constexpr (is_wanted<Mask>) mask[c] = static_cast<std::decay_t<decltype(*mask)>>(kNoMaximum);
  }
}

// body(window, number in it of its first position inside, offset of its output) for a row.
template <class Body>
PYDL_INLINE void for_each_window(const Strip& s, int64_t row, const Body& body) {
  const int64_t od = row / s.h.out, oh = row % s.h.out;
  Box box{s.d.window(od), s.h.window(oh), {}};
  const int64_t first =
      ((box.d.begin - s.d.first(od)) * s.h.kernel + box.h.begin - s.h.first(oh)) * s.w.kernel;
  for (int64_t ow = 0; ow < s.w.out; ++ow) {
    box.w = s.w.window(ow);
    body(box, first + box.w.begin - s.w.first(ow), (row * s.w.out + ow) * s.step);
  }
}

// Mask: M*, or NoMask.
template <class T, class Mask>
[[gnu::flatten]] void max_row(const Strip& s, int64_t row, const T* x, T* y, Mask mask) {
  for_each_window(s, row, [&](const Box& box, int64_t first, int64_t out) {
    if (box.empty()) return clear_position(s, y + out, mask + out);
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      max_window<NV>(s, box, first, x + c, n, y + out + c, mask + out + c);
    });
  });
}

template <class M>
[[gnu::flatten]] void sample_row(const Strip& s, int64_t row, const float* x, const float* random,
                                 float* y, M* mask) {
  for_each_window(s, row, [&](const Box& box, int64_t first, int64_t out) {
    if (box.empty()) return clear_position(s, y + out, mask + out);
    for_each_vector_of(s, [&](int64_t c, int64_t n) {
      sample_window(s, box, first, x + c, random + out + c, n, y + out + c, mask + out + c);
    });
  });
}

[[gnu::flatten]] void expect_row(const Strip& s, int64_t row, const float* x, float* y) {
  for_each_window(s, row, [&](const Box& box, int64_t, int64_t out) {
    for_each_vector_of(s,
                       [&](int64_t c, int64_t n) { expect_window(s, box, x + c, n, y + out + c); });
  });
}

[[gnu::flatten]] void share_row(const Strip& s, int64_t row, const float* x, const float* dy,
                                float* share) {
  for_each_window(s, row, [&](const Box& box, int64_t, int64_t out) {
    for_each_vector_of(s, [&](int64_t c, int64_t n) {
      share_window(s, box, x + c, dy + out + c, n, share + out + c);
    });
  });
}

template <class T>
[[gnu::flatten]] void mean_row(const Strip& s, int64_t row, const T* x, T* y) {
  const int64_t od = row / s.h.out, oh = row % s.h.out;
  Box box{s.d.window(od), s.h.window(oh), {}};
  Reciprocal reciprocal;
  for (int64_t ow = 0; ow < s.w.out; ++ow) {
    box.w = s.w.window(ow);
    const int64_t size = s.d.extent(od) * s.h.extent(oh) * s.w.extent(ow);
    const float factor = box.empty() ? 0 : reciprocal.of(size);
    T* to = y + (row * s.w.out + ow) * s.step;
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      mean_window<NV>(s, box, factor, x + c, n, to + c);
    });
  }
}

// body(windows that cover it, position in the plane's w, offset of its values) for a row of (D, H).
template <class Body>
PYDL_INLINE void for_each_covered(const Strip& s, int64_t row, const Body& body) {
  Box box{Cover(s.d).move_to(row / s.h.in), Cover(s.h).move_to(row % s.h.in), {}};
  Cover cover(s.w);
  for (int64_t w = 0; w < s.w.in; ++w) {
    box.w = cover.move_to(w);
    body(box, w, (row * s.w.in + w) * s.step);
  }
}

template <class T, class M>
[[gnu::flatten]] void max_row_backward(const Strip& s, int64_t row, const T* dy, const M* mask,
                                       T* dx) {
  const int64_t first = (row / s.h.in * s.h.kernel + row % s.h.in) * s.w.kernel;
  for_each_covered(s, row, [&](const Box& box, int64_t w, int64_t in) {
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      gather_max<NV>(s, box, first + w, dy + c, mask + c, n, dx + in + c);
    });
  });
}

template <class T>
[[gnu::flatten]] void mean_row_backward(const Strip& s, int64_t row, const T* dy, T* dx) {
  Reciprocal reciprocal;
  for_each_covered(s, row, [&](const Box& box, int64_t, int64_t in) {
    for_each_channel(s, [&]<int NV>(int64_t c, int64_t n) {
      gather_mean<NV>(s, box, reciprocal, dy + c, n, dx + in + c);
    });
  });
}

[[gnu::flatten]] void expect_row_backward(const Strip& s, int64_t row, const float* x,
                                          const float* y, const float* share, float* dx) {
  for_each_covered(s, row, [&](const Box& box, int64_t, int64_t in) {
    for_each_vector_of(s, [&](int64_t c, int64_t n) {
      gather_shares(s, box, x + in + c, y + c, share + c, n, dx + in + c);
    });
  });
}

// ---- all images ----

Strip strip_of(const PoolShape& s, int64_t step, int64_t c0, int64_t c1) {
  return {{s.d}, {s.h}, {s.w}, step, c0, c1};
}

int64_t rows_in(const PoolShape& s) { return s.d.in * s.h.in; }
int64_t rows_out(const PoolShape& s) { return s.d.out * s.h.out; }
// Floats that a row of windows reads, per channel.
int64_t work_of_row(const PoolShape& s) { return s.w.out * s.d.kernel * s.h.kernel * s.w.kernel; }

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
  const int64_t planes = s.n * s.c, work = kLanes * (s.in_count() + s.out_count());
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

// The masks of planes, (n, size) bytes or integers, to and from (size, kLanes) integers, by way of
// `work`, of as many. Moving the bits of integers is moving floats.
const float* bits(const int32_t* mask) { return reinterpret_cast<const float*>(mask); }
float* bits(int32_t* mask) { return reinterpret_cast<float*>(mask); }

void mask_in(const Strip& s, int64_t size, const uint8_t* planes, int32_t* work, int32_t* last) {
  for_each_vector(0, s.c1 * size,
                  [&](int64_t i, int64_t n) { store_some(work + i, load_some(planes + i, n), n); });
  planes_in(s, size, bits(work), bits(last));
}
void mask_in(const Strip& s, int64_t size, const int32_t* planes, int32_t*, int32_t* last) {
  planes_in(s, size, bits(planes), bits(last));
}
void mask_out(const Strip& s, int64_t size, const int32_t* last, int32_t* work, uint8_t* planes) {
  planes_out(s, size, bits(last), bits(work));
  for_each_vector(0, s.c1 * size, [&](int64_t i, int64_t n) {
    store_some(planes + i, load_some(work + i, n) & 0xff, n);
  });
}
void mask_out(const Strip& s, int64_t size, const int32_t* last, int32_t*, int32_t* planes) {
  planes_out(s, size, bits(last), bits(planes));
}

template <class T, class Mask>
void max_images(const PoolShape& s, const T* x, T* y, Mask mask) {
  const int64_t in = s.in_count(), out = s.out_count();
  if (s.channels_last) {
    for_each_row(s, rows_out(s), work_of_row(s), [=](const Strip& strip, int64_t n, int64_t row) {
      const int64_t to = n * out * strip.step;
      max_row(strip, row, x + n * in * strip.step, y + to, mask + to);
    });
    return;
  }
  for_each_group(s, kLanes * (in + 3 * out), [=](const Strip& strip, int64_t plane, float* t) {
    float* ty = t + kLanes * in;
    int32_t* tmask = reinterpret_cast<int32_t*>(ty + kLanes * out);
    planes_in(strip, in, x + plane * in, t);
    for (int64_t row = 0; row < rows_out(s); ++row) {
      max_row(strip, row, t, ty, std::conditional_t<is_wanted<Mask>, int32_t*, NoMask>(tmask));
    }
    planes_out(strip, out, ty, y + plane * out);
    if constexpr (is_wanted<Mask>) {
      mask_out(strip, out, tmask, tmask + kLanes * out, mask + plane * out);
    }
  });
}

template <class T, class M>
void max_images_backward(const PoolShape& s, const T* dy, const M* mask, T* dx) {
  const int64_t in = s.in_count(), out = s.out_count();
  if (s.channels_last) {
    for_each_row(s, rows_in(s), 2 * s.w.in, [=](const Strip& strip, int64_t n, int64_t row) {
      const int64_t at = n * out * strip.step;
      max_row_backward(strip, row, dy + at, mask + at, dx + n * in * strip.step);
    });
    return;
  }
  for_each_group(s, kLanes * (in + 3 * out), [=](const Strip& strip, int64_t plane, float* t) {
    float* tdy = t + kLanes * in;
    int32_t* tmask = reinterpret_cast<int32_t*>(tdy + kLanes * out);
    planes_in(strip, out, dy + plane * out, tdy);
    mask_in(strip, out, mask + plane * out, tmask + kLanes * out, tmask);
    for (int64_t row = 0; row < rows_in(s); ++row) max_row_backward(strip, row, tdy, tmask, t);
    planes_out(strip, in, t, dx + plane * in);
  });
}

template <class T>
void max_forward(const PoolShape& s, const T* x, T* y, std::byte* mask) {
  if (!mask) return max_images(s, x, y, NoMask{});
  with_mask(s, mask, [&](auto* m) { max_images(s, x, y, m); });
}

template <class T>
void max_backward(const PoolShape& s, const T* dy, const std::byte* mask, T* dx) {
  with_mask(s, mask, [&](const auto* m) { max_images_backward(s, dy, m, dx); });
}

template <class T>
void ave_forward(const PoolShape& s, const T* x, T* y) {
  const int64_t in = s.in_count(), out = s.out_count();
  if (s.channels_last) {
    for_each_row(s, rows_out(s), work_of_row(s), [=](const Strip& strip, int64_t n, int64_t row) {
      mean_row(strip, row, x + n * in * strip.step, y + n * out * strip.step);
    });
    return;
  }
  for_each_group(s, kLanes * (in + out), [=](const Strip& strip, int64_t plane, float* t) {
    float* ty = t + kLanes * in;
    planes_in(strip, in, x + plane * in, t);
    for (int64_t row = 0; row < rows_out(s); ++row) mean_row(strip, row, t, ty);
    planes_out(strip, out, ty, y + plane * out);
  });
}

template <class T>
void ave_backward(const PoolShape& s, const T* dy, T* dx) {
  const int64_t in = s.in_count(), out = s.out_count();
  if (s.channels_last) {
    for_each_row(s, rows_in(s), 2 * s.w.in, [=](const Strip& strip, int64_t n, int64_t row) {
      mean_row_backward(strip, row, dy + n * out * strip.step, dx + n * in * strip.step);
    });
    return;
  }
  for_each_group(s, kLanes * (in + out), [=](const Strip& strip, int64_t plane, float* t) {
    float* tdy = t + kLanes * in;
    planes_in(strip, out, dy + plane * out, tdy);
    for (int64_t row = 0; row < rows_in(s); ++row) mean_row_backward(strip, row, tdy, t);
    planes_out(strip, in, t, dx + plane * in);
  });
}

void sample_forward(const PoolShape& s, const float* x, const float* random, float* y,
                    std::byte* mask) {
  const int64_t in = s.in_count() * s.c, out = s.out_count() * s.c;
  with_mask(s, mask, [&](auto* m) {
    for_each_row(s, rows_out(s), 2 * work_of_row(s),
                 [=](const Strip& strip, int64_t n, int64_t row) {
                   const int64_t at = n * out;
                   sample_row(strip, row, x + n * in, random + at, y + at, m + at);
                 });
  });
}

void expect_forward(const PoolShape& s, const float* x, float* y) {
  const int64_t in = s.in_count() * s.c, out = s.out_count() * s.c;
  for_each_row(s, rows_out(s), work_of_row(s), [=](const Strip& strip, int64_t n, int64_t row) {
    expect_row(strip, row, x + n * in, y + n * out);
  });
}

void expect_backward(const PoolShape& s, const float* x, const float* y, const float* dy,
                     float* dx) {
  const int64_t in = s.in_count() * s.c, out = s.out_count() * s.c;
  const Scratch scratch(s.n * out);
  float* share = scratch.data();
  for_each_row(s, rows_out(s), work_of_row(s), [=](const Strip& strip, int64_t n, int64_t row) {
    share_row(strip, row, x + n * in, dy + n * out, share + n * out);
  });
  for_each_row(s, rows_in(s), 2 * s.w.in, [=](const Strip& strip, int64_t n, int64_t row) {
    expect_row_backward(strip, row, x + n * in, y + n * out, share + n * out, dx + n * in);
  });
}

}  // namespace

const PoolKernels pool = {PYDL_TYPED(max_forward), PYDL_TYPED(max_backward),
                          PYDL_TYPED(ave_forward), PYDL_TYPED(ave_backward),
                          sample_forward,          expect_forward,
                          expect_backward};

}  // namespace pydl::kernels::PYDL_ISA
