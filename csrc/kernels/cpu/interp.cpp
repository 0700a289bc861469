// Bilinear interpolation (interp.h): one axis after the other.
//
// Forward, two rows of the input are blended to one, of which the pixels of a row of the output are
// blended in turn. Backward, the rows of dy go to two sums as wide as they are, one for a row of
// the input and one for the next, and each of these is narrowed once, when it is complete. A
// vector holds channels, or where there are few of them, neighbours in memory.
#include "kernels/interp.h"

#include "kernels/cpu/tasks.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const InterpKernels interp;

namespace {

template <class T>
PYDL_INLINE void copy_as(int64_t n, const T* x, float* y) {
  for_each_vector(
      0, n, [=](int64_t i, int64_t lanes) { store_some(y + i, load_some(x + i, lanes), lanes); });
}

// y = a + weight (b - a)
template <class A, class T>
PYDL_INLINE void blend(int64_t n, const A* a, const A* b, float weight, T* y) {
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    const Vec v = load_some(a + i, lanes);
    store_some(y + i, (1.0f - weight) * v + weight * load_some(b + i, lanes), lanes);
  });
}

// y += weight x
template <class T>
PYDL_INLINE void add_scaled(int64_t n, float weight, const T* x, float* y) {
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    store_some(y + i, load_some(y + i, lanes) + weight * load_some(x + i, lanes), lanes);
  });
}

// Where each element of an output row comes from, for rows of few channels.
struct Gather {
  const int32_t *lower, *upper;
  const float* weight;
};

PYDL_INLINE Vec gather(const float* x, const int32_t* index, int64_t n) {
  Vec v{};
  for (int64_t i = 0; i < n; ++i) v[i] = x[index[i]];
  return v;
}

// The taps of the output row, for each of its pixels, or each of its elements.
class Row {
 public:
  explicit Row(const InterpShape& s)
      : axis_(s.w),
        channels_(s.channels),
        flat_(s.channels < kLanes),
        count_(axis_.out * (flat_ ? channels_ : 1)),
        memory_(3 * aligned_size(count_)),
        lower_(reinterpret_cast<int32_t*>(memory_.data())),
        upper_(lower_ + aligned_size(count_)),
        weight_(memory_.data() + 2 * aligned_size(count_)) {
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t step = flat_ ? channels_ : 1;
      const InterpAxis::Tap tap = axis_.tap(i / step);
      lower_[i] = static_cast<int32_t>(tap.lower * channels_ + i % step);
      upper_[i] = static_cast<int32_t>(tap.upper * channels_ + i % step);
      weight_[i] = tap.weight;
    }
  }

  // y (out, channels) from x (in, channels).
  template <class T>
  PYDL_INLINE void widen(const float* x, T* y) const {
    if (!flat_) {
      for (int64_t o = 0; o < axis_.out; ++o) {
        blend(channels_, x + lower_[o], x + upper_[o], weight_[o], y + o * channels_);
      }
      return;
    }
    for_each_vector(0, count_, [=, this](int64_t i, int64_t lanes) {
      const Vec a = gather(x, lower_ + i, lanes), b = gather(x, upper_ + i, lanes);
      const Vec weight = load_some(weight_ + i, lanes);
      store_some(y + i, (1.0f - weight) * a + weight * b, lanes);
    });
  }

  // x (in, channels) = the sums of what widen() gives to y (out, channels).
  PYDL_INLINE void narrow(const float* y, float* x) const {
    for (int64_t i = 0; i < axis_.in * channels_; ++i) x[i] = 0;
    if (flat_) {
      for (int64_t i = 0; i < count_; ++i) {
        x[lower_[i]] += (1.0f - weight_[i]) * y[i];
        x[upper_[i]] += weight_[i] * y[i];
      }
      return;
    }
    for (int64_t o = 0; o < axis_.out; ++o) {
      add_scaled(channels_, 1.0f - weight_[o], y + o * channels_, x + lower_[o]);
      add_scaled(channels_, weight_[o], y + o * channels_, x + upper_[o]);
    }
  }

 private:
  InterpAxis axis_;
  int64_t channels_;
  bool flat_;
  int64_t count_;
  Scratch memory_;
  int32_t *lower_, *upper_;
  float* weight_;
};

template <class T>
void forward(const InterpShape& s, const T* x, T* y) {
  const Row row(s);
  const int64_t in_row = s.w.size * s.channels, out_row = s.w.out * s.channels;
  const int64_t part = s.w.in * s.channels;
  parallel_for_scratch(s.n * s.h.out, items_worth(kGrain, out_row), part,
                       [&](int64_t begin, int64_t end, float* blended) PYDL_FLATTEN {
                         for (int64_t r = begin; r < end; ++r) {
                           const InterpAxis::Tap tap = s.h.tap(r % s.h.out);
                           const T* image = x + (r / s.h.out * s.h.size + s.h.begin) * in_row +
                                            s.w.begin * s.channels;
                           const T *lower = image + tap.lower * in_row,
                                   *upper = image + tap.upper * in_row;
                           if (tap.weight == 0) {
                             copy_as(part, lower, blended);
                           } else {
                             blend(part, lower, upper, tap.weight, blended);
                           }
                           row.widen(blended, y + r * out_row);
                         }
                       });
}

// Rows [begin, end) of the part of dx that forward looks at, of one image. dy, dx: the image's.
// sums: two rows of dy; part: a row of that part of dx.
template <class T>
PYDL_INLINE void backward_rows(const InterpShape& s, const Row& row, int64_t begin, int64_t end,
                               const T* dy, T* dx, float* sums, float* part) {
  const int64_t in_row = s.w.size * s.channels, out_row = s.w.out * s.channels;
  float *now = sums, *next = sums + aligned_size(out_row);
  const auto clear = [=](float* sum) {
    for (int64_t i = 0; i < out_row; ++i) sum[i] = 0;
  };
  clear(now);
  clear(next);
  int64_t h = begin;  // the row that `now` is of
  const auto finish_row = [&] {
    row.narrow(now, part);
    T* to = dx + (s.h.begin + h) * in_row + s.w.begin * s.channels;
    for_each_vector(0, s.w.in * s.channels, [=](int64_t i, int64_t lanes) {
      store_some(to + i, load_some(part + i, lanes), lanes);
    });
    float* done = now;
    now = next;
    next = done;
    clear(next);
    ++h;
  };
  for (int64_t o = 0; o < s.h.out; ++o) {
    const InterpAxis::Tap tap = s.h.tap(o);
    if (tap.upper < begin) continue;
    if (tap.lower >= end) break;
    while (h < tap.lower) finish_row();
    const T* from = dy + o * out_row;
    if (tap.lower == h) add_scaled(out_row, 1.0f - tap.weight, from, now);
    if (tap.weight != 0) add_scaled(out_row, tap.weight, from, tap.upper == h ? now : next);
  }
  while (h < end) finish_row();
}

// Zeros outside of the part that forward looks at.
template <class T>
void clear_margins(const InterpShape& s, T* dx) {
  const int64_t rows = s.n * s.h.size, width = s.w.size * s.channels;
  const auto clear = [](T* from, T* to) {
    for (; from < to; ++from) *from = 0;
  };
  parallel_for(rows, items_worth(kGrain, width), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t h = r % s.h.size - s.h.begin;
      T* row = dx + r * width;
      if (h < 0 || h >= s.h.in) {
        clear(row, row + width);
      } else {
        clear(row, row + s.w.begin * s.channels);
        clear(row + (s.w.begin + s.w.in) * s.channels, row + width);
      }
    }
  });
}

template <class T>
void backward(const InterpShape& s, const T* dy, T* dx) {
  const Row row(s);
  const int64_t in_row = s.w.size * s.channels, out_row = s.w.out * s.channels;
  const int64_t work = s.h.out * out_row / s.h.in;  // of dy, for a row of dx
  clear_margins(s, dx);
  parallel_for_scratch(s.n * s.h.in, items_worth(kGrain, work),
                       2 * aligned_size(out_row) + s.w.in * s.channels,
                       [&](int64_t begin, int64_t end, float* scratch) PYDL_FLATTEN {
                         while (begin < end) {
                           const int64_t image = begin / s.h.in, first = begin % s.h.in;
                           const int64_t last = smaller(s.h.in, first + end - begin);
                           backward_rows(s, row, first, last, dy + image * s.h.out * out_row,
                                         dx + image * s.h.size * in_row, scratch,
                                         scratch + 2 * aligned_size(out_row));
                           begin += last - first;
                         }
                       });
}

}  // namespace

const InterpKernels interp = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::PYDL_ISA
