#include "kernels/movement.h"

#include <algorithm>
#include <cstring>

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
  const auto size = static_cast<size_t>(box.shape.back() * bytes_of(x.dtype));
  const int64_t count = Rows(box).count();
  if (count == 0 || size == 0) return;
  parallel_for(count, items_worth(box.shape.back() * bytes_of(x.dtype)),
               [&](int64_t begin, int64_t end) {
                 Rows row(box);
                 row.start_at(begin);
                 for (int64_t r = begin; r < end; ++r, row.next()) {
                   std::memcpy(y.from(row.y()).data, x.from(row.x()).data, size);
                 }
               });
}

}  // namespace pydl::kernels
