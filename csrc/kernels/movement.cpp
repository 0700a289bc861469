#include "kernels/movement.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "kernels/parallel.h"

namespace pydl::kernels {

namespace {

constexpr int64_t kGrain = 64 << 10;  // bytes worth a thread

int64_t items_worth(int64_t bytes) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, bytes));
}

// `times` copies of `size` bytes: those made first are themselves copied, as long as they are in
// the cache.
void repeat(const std::byte* from, int64_t size, int64_t times, std::byte* to) {
  constexpr int64_t kMost = 8 << 10;
  const int64_t all = size * times;
  std::memcpy(to, from, static_cast<size_t>(size));
  int64_t unit = size;  // what is copied at once
  for (int64_t done = size; done < all;) {
    const int64_t next = std::min(unit, all - done);
    std::memcpy(to + done, to, static_cast<size_t>(next));
    done += next;
    if (2 * unit <= std::max(kMost, size) && done >= 2 * unit) unit *= 2;
  }
}

// Without axes of one element, and with those that follow one another in both arrays as one. The
// last one is of neighbours in both.
Box simplified(const Box& box) {
  Box out;
  for (size_t i = 0; i < box.shape.size(); ++i) {
    if (box.shape[i] == 1) continue;
    const bool joins = !out.shape.empty() &&
                       out.x_stride.back() == box.shape[i] * box.x_stride[i] &&
                       out.y_stride.back() == box.shape[i] * box.y_stride[i];
    if (!joins) {
      out.shape.push_back(1);
      out.x_stride.push_back(0);
      out.y_stride.push_back(0);
    }
    out.shape.back() *= box.shape[i];
    out.x_stride.back() = box.x_stride[i];
    out.y_stride.back() = box.y_stride[i];
  }
  if (out.shape.empty() || out.x_stride.back() != 1 || out.y_stride.back() != 1) {
    out.shape.push_back(1);
    out.x_stride.push_back(1);
    out.y_stride.push_back(1);
  }
  return out;
}

// The rows of a box, along its last axis, in order.
class Rows {
 public:
  explicit Rows(const Box& box) : box_(box), axes_(box.shape.size() - 1), index_(axes_) {
    for (size_t i = 0; i < axes_; ++i) count_ *= box.shape[i];
  }
  int64_t count() const { return count_; }
  int64_t x() const { return x_; }  // where the current row begins
  int64_t y() const { return y_; }
  int64_t index(size_t axis) const { return index_[axis]; }

  void start_at(int64_t row) {
    for (size_t i = axes_; i-- > 0; row /= box_.shape[i]) move(i, row % box_.shape[i]);
  }
  void next() {
    for (size_t i = axes_; i-- > 0;) {
      if (index_[i] + 1 < box_.shape[i]) return move(i, index_[i] + 1);
      move(i, 0);
    }
  }

 private:
  void move(size_t axis, int64_t to) {
    x_ += (to - index_[axis]) * box_.x_stride[axis];
    y_ += (to - index_[axis]) * box_.y_stride[axis];
    index_[axis] = to;
  }

  const Box& box_;
  size_t axes_;
  std::vector<int64_t> index_;
  int64_t count_ = 1, x_ = 0, y_ = 0;
};

// ---- transposition ----

// 16 bytes of elements side by side.
template <class T>
struct Block {
  typedef T Vec __attribute__((vector_size(16)));
  static constexpr int kLanes = 16 / sizeof(T);
};

// a0 b0 a1 b1 ..., from the first (kHigh: second) halves of a and b.
template <bool kHigh, class V, int... kLane>
[[gnu::always_inline]] inline V interleave(V a, V b, std::integer_sequence<int, kLane...>) {
  constexpr int kCount = sizeof...(kLane), kFirst = kHigh ? kCount / 2 : 0;
  return __builtin_shufflevector(a, b, (kLane / 2 + kFirst + (kLane % 2 ? kCount : 0))...);
}

// A square of elements: log2(kLanes) times, rows i and i + kLanes / 2 are interleaved into rows 2 i
// and 2 i + 1.
template <class T>
[[gnu::always_inline]] inline void transpose_block(typename Block<T>::Vec* rows) {
  using V = typename Block<T>::Vec;
  constexpr int kLanes = Block<T>::kLanes;
  constexpr auto kAll = std::make_integer_sequence<int, kLanes>();
#pragma GCC unroll 3
  for (int bit = 1; bit < kLanes; bit *= 2) {
    V next[kLanes];
#pragma GCC unroll 4
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = interleave<false>(rows[i], rows[i + kLanes / 2], kAll);
      next[2 * i + 1] = interleave<true>(rows[i], rows[i + kLanes / 2], kAll);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
}

// y[j * y_step + i] = x[i * x_step + j] for i < in, j < out, at most kLanes. Whole blocks are read
// and written, so that each row may be followed by elements that are none of it.
template <class T>
[[gnu::always_inline]] inline void transpose_square(int64_t in, int64_t out, const T* x,
                                                    int64_t x_step, T* y, int64_t y_step) {
  using V = typename Block<T>::Vec;
  constexpr int kLanes = Block<T>::kLanes;
  V rows[kLanes] = {};
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; ++i) {
    if (i < in) std::memcpy(&rows[i], x + i * x_step, sizeof(V));
  }
  transpose_block<T>(rows);
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; ++i) {
    if (i < out) std::memcpy(y + i * y_step, &rows[i], sizeof(V));
  }
}

// How many of n rows of `size` elements, one right behind the other, can be read or written kLanes
// elements at a time; a multiple of kLanes.
template <class T>
int64_t whole_rows(int64_t n, int64_t size) {
  constexpr int64_t kLanes = Block<T>::kLanes;
  const int64_t rest = (kLanes + size - 1) / size - 1;  // rows that the last one reaches into
  return std::max<int64_t>(0, n - rest) / kLanes * kLanes;
}

// y[j * y_step + i] = x[i * x_step + j] for i < m, j < n. A cache line of y is written at once. Of
// rows that are narrower than a block, what does not belong to them is written again by the next.
template <class T>
void transpose(int64_t m, int64_t n, const T* x, int64_t x_step, T* y, int64_t y_step) {
  constexpr int64_t kLanes = Block<T>::kLanes;
  const bool narrow_y = m < kLanes && n >= kLanes && y_step == m;
  const bool narrow_x = n < kLanes && m >= kLanes && x_step == n;
  const int64_t done_m = narrow_y ? m : narrow_x ? whole_rows<T>(m, n) : m / kLanes * kLanes;
  const int64_t done_n = narrow_x ? n : narrow_y ? whole_rows<T>(n, m) : n / kLanes * kLanes;
  const auto squares = [=](int64_t in, int64_t out) __attribute__((always_inline)) {
    for (int64_t j = 0; j < done_n; j += kLanes) {
      for (int64_t i = 0; i < done_m; i += kLanes) {
        transpose_square(in, out, x + i * x_step + j, x_step, y + j * y_step + i, y_step);
      }
    }
  };
  if (narrow_y || narrow_x) {
    squares(std::min(m, kLanes), std::min(n, kLanes));
  } else {
    squares(kLanes, kLanes);
  }
  for (int64_t i = done_m; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) y[j * y_step + i] = x[i * x_step + j];
  }
  for (int64_t j = done_n; j < n; ++j) {
    for (int64_t i = 0; i < done_m; ++i) y[j * y_step + i] = x[i * x_step + j];
  }
}

// The axes along which the elements of x, and those of y, are neighbours; -1: none.
struct Neighbours {
  int in_x = -1, in_y = -1;

  explicit Neighbours(const Box& box) {
    for (int i = 0; i < static_cast<int>(box.shape.size()); ++i) {
      if (box.shape[i] == 1) continue;
      if (box.x_stride[i] == 1) in_x = i;
      if (box.y_stride[i] == 1) in_y = i;
    }
  }
  bool differ() const { return in_x >= 0 && in_y >= 0 && in_x != in_y; }
};

// A box whose axis `in_x` is of neighbours in x and whose axis `in_y` is of neighbours in y, in
// pieces of these two axes: strips of one cache line of y, or more where they are short.
template <class T>
void copy_transposed(const Box& box, Neighbours axes, const T* x, T* y) {
  constexpr int64_t kLine = 64 / sizeof(T), kPiece = 4096;
  Box pieces;
  const auto add = [&](int64_t count, int64_t x_stride, int64_t y_stride) {
    pieces.shape.push_back(count);
    pieces.x_stride.push_back(x_stride);
    pieces.y_stride.push_back(y_stride);
  };
  for (int i = 0; i < static_cast<int>(box.shape.size()); ++i) {
    if (i != axes.in_x && i != axes.in_y) add(box.shape[i], box.x_stride[i], box.y_stride[i]);
  }
  const size_t outer = pieces.shape.size();
  const int64_t m = box.shape[axes.in_y], x_step = box.x_stride[axes.in_y];
  const int64_t n = box.shape[axes.in_x], y_step = box.y_stride[axes.in_x];
  const int64_t length = std::min(n, kPiece / kLine);
  const int64_t strip = kPiece / length / kLine * kLine;
  add((m + strip - 1) / strip, strip * x_step, strip);
  add((n + length - 1) / length, length, length * y_step);
  add(1, 1, 1);
  const int64_t worth = items_worth(std::min(m, strip) * length * sizeof(T));
  parallel_for(Rows(pieces).count(), worth, [&](int64_t begin, int64_t end) {
    Rows piece(pieces);
    piece.start_at(begin);
    for (int64_t p = begin; p < end; ++p, piece.next()) {
      const int64_t i = piece.index(outer) * strip, j = piece.index(outer + 1) * length;
      transpose(std::min(strip, m - i), std::min(length, n - j), x + piece.x(), x_step,
                y + piece.y(), y_step);
    }
  });
}

// Single elements, which are no neighbours along one axis in both arrays.
void copy_elements(const Box& box, Neighbours axes, ConstArray x, Array y) {
  if (x.dtype == DType::kFloat32) {
    copy_transposed(box, axes, static_cast<const float*>(x.data), static_cast<float*>(y.data));
  } else {
    copy_transposed(box, axes, static_cast<const uint16_t*>(x.data),
                    static_cast<uint16_t*>(y.data));
  }
}

// ---- planes ----

// body(i, at): for each element of an array of indices, where the element that it names is in the
// other array; false if some name none. Threads share out planes, or some channels of an image.
template <class Body>
bool for_each_in_planes(const PlaneShape& s, const float* index, const Body& body) {
  const int64_t run = s.channels_last ? std::min<int64_t>(s.c, 64) : 1;
  const int64_t runs = (s.c + run - 1) / std::max<int64_t>(run, 1);  // of an image
  const int64_t step = s.channels_last ? s.c : 1;
  const auto limit = static_cast<float>(s.out);
  std::atomic<bool> all = true;
  parallel_for(s.n * runs, items_worth(4 * run * s.in), [&](int64_t begin, int64_t end) {
    bool found = true;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t image = item / runs, c0 = item % runs * run;
      const int64_t from = image * s.c * s.in + (s.channels_last ? c0 : c0 * s.in);
      const int64_t to = image * s.c * s.out + (s.channels_last ? c0 : c0 * s.out);
      const int64_t width = std::min(run, s.c - c0);
      for (int64_t p = 0; p < s.in; ++p) {
        for (int64_t c = 0; c < width; ++c) {
          const int64_t i = from + p * step + c;
          const bool fits = index[i] >= 0 && index[i] < limit;  // NaN does not
          found = found && fits;
          if (fits) body(i, to + static_cast<int64_t>(index[i]) * step + c);
        }
      }
    }
    if (!found) all = false;
  });
  return all;
}

}  // namespace

void repeat_rows(int64_t outer, int64_t n, int64_t times, ConstArray x, Array y) {
  if (outer <= 0 || n <= 0 || times <= 0) return;
  const int64_t size = n * bytes_of(x.dtype);
  const int64_t group = std::min(times, items_worth(size)), groups = (times + group - 1) / group;
  parallel_for(outer * groups, items_worth(size * group), [=](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t o = item / groups, first = item % groups * group;
      repeat(static_cast<const std::byte*>(x.from(o * n).data), size,
             std::min(group, times - first),
             static_cast<std::byte*>(y.from((o * times + first) * n).data));
    }
  });
}

void copy_box(const Box& given, ConstArray x, Array y) {
  const Box box = simplified(given);
  const int64_t n = box.shape.back(), count = Rows(box).count();
  if (count == 0 || n == 0) return;
  if (const Neighbours axes(box); n == 1 && axes.differ()) return copy_elements(box, axes, x, y);
  const int64_t length = std::min(n, kGrain / bytes_of(x.dtype)), parts = (n + length - 1) / length;
  const auto copy_items = [&](int64_t begin, int64_t end) {
    Rows row(box);
    row.start_at(begin / parts);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % parts * length, size = std::min(length, n - first);
      std::memcpy(y.from(row.y() + first).data, x.from(row.x() + first).data,
                  static_cast<size_t>(size * bytes_of(x.dtype)));
      if (item % parts == parts - 1) row.next();
    }
  };
  parallel_for(count * parts, items_worth(length * bytes_of(x.dtype)), copy_items);
}

bool scatter_in_planes(const PlaneShape& s, const float* x, const float* index, float* y) {
  return for_each_in_planes(s, index, [=](int64_t i, int64_t at) { y[at] = x[i]; });
}

bool gather_in_planes(const PlaneShape& s, const float* y, const float* index, float* x) {
  return for_each_in_planes(s, index, [=](int64_t i, int64_t at) { x[i] = y[at]; });
}

}  // namespace pydl::kernels
