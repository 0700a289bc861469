// The largest values along an axis (arg_max.h).
//
// The largest one alone: the lanes of a vector are values of one row (inner = 1), or positions.
// A few at each position: the same, with a list of the best so far in each lane. Else rows one
// after the other, turned into scratch memory where they do not lie in one piece; values that do
// not reach the worst of the best so far are passed over, a vector at a time.
#include "kernels/arg_max.h"

#include <algorithm>

#include "kernels/cpu/lane_bits.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/turn.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

extern const ArgMaxKernels arg_max;

namespace {

struct Entry {
  float value;
  int32_t index;
};

bool is_nan(float x) { return x != x; }

bool comes_first(const Entry& a, const Entry& b) {
  if (is_nan(a.value) || is_nan(b.value)) {
    return is_nan(a.value) && (!is_nan(b.value) || a.index > b.index);
  }
  return a.value > b.value || (a.value == b.value && a.index > b.index);
}

// ---- the largest one ----

struct Best {
  Vec value = broadcast(-__builtin_inff());
  VecI index{};

  // The values v, later than all before.
  PYDL_INLINE void see(Vec v, VecI at) {
    const VecI is_best = (v >= value) | (v != v);
    value = select(is_best, v, value);
    index = select(is_best, at, index);
  }
  // The same; what was not the best is given back.
  PYDL_INLINE void exchange(Vec* v, VecI* at) {
    const VecI is_best = (*v >= value) | (*v != *v);
    const Vec other = select(is_best, value, *v);
    const VecI other_index = select(is_best, index, *at);
    value = select(is_best, *v, value);
    index = select(is_best, *at, index);
    *v = other;
    *at = other_index;
  }
};

Entry largest_of_row(int64_t n, const float* x) {
  Best best;
  const auto width = static_cast<int32_t>(kLanes);
  VecI at = iota();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes, at += width) best.see(load(x + i), at);
  Entry found{x[0], 0};
  for (int lane = 0; lane < kLanes && lane < i; ++lane) {
    const Entry entry{best.value[lane], best.index[lane]};
    if (comes_first(entry, found)) found = entry;
  }
  for (; i < n; ++i) {
    const Entry entry{x[i], static_cast<int32_t>(i)};
    if (comes_first(entry, found)) found = entry;
  }
  return found;
}

void put(int64_t at, int64_t lanes, const Best& best, float* index, float* value) {
  if (index) store_some(index + at, to_float(best.index), lanes);
  if (value) store_some(value + at, best.value, lanes);
}

// The positions [first, first + kVectors * kLanes) of an outer index.
template <int kVectors>
PYDL_INLINE void largest_of_positions(const ArgMaxShape& s, int64_t o, int64_t first, int64_t lanes,
                                      const float* x, float* index, float* value) {
  Best best[kVectors];
  const float* from = x + o * s.n * s.inner + first;
  VecI at{};
  for (int64_t j = 0; j < s.n; ++j, from += s.inner, at += 1) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) best[v].see(load_some(from + v * kLanes, lanes), at);
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    put(o * s.stride + first + v * kLanes, lanes, best[v], index, value);
  }
}

void largest_one(const ArgMaxShape& s, const float* x, float* index, float* value) {
  if (s.inner == 1) {
    parallel_for(s.outer, items_worth(kGrain, s.n), [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const Entry found = largest_of_row(s.n, x + o * s.n);
        if (index) index[o * s.stride] = static_cast<float>(found.index);
        if (value) value[o * s.stride] = found.value;
      }
    });
    return;
  }
  constexpr int kVectors = 4;
  constexpr int64_t kStrip = kVectors * kLanes;
  const int64_t strips = ceil_div(s.inner, kStrip);
  parallel_for(s.outer * strips, items_worth(kGrain, s.n * smaller(kStrip, s.inner)),
               [=](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t o = item / strips, first = item % strips * kStrip;
                   if (first + kStrip <= s.inner) {
                     largest_of_positions<kVectors>(s, o, first, kLanes, x, index, value);
                     continue;
                   }
                   for_each_vector(first, s.inner, [&](int64_t i, int64_t lanes) {
                     largest_of_positions<1>(s, o, i, lanes, x, index, value);
                   });
                 }
               });
}

// ---- a few at each position ----

constexpr int64_t kMostInLanes = 16;

void largest_in_lanes(const ArgMaxShape& s, const float* x, float* index, float* value) {
  const int64_t vectors = ceil_div(s.inner, kLanes);
  const auto strip = [=](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t o = item / vectors, first = item % vectors * kLanes;
      const int64_t lanes = smaller(kLanes, s.inner - first);
      const float* from = x + o * s.n * s.inner + first;
      Best best[kMostInLanes];
      for (int64_t j = 0; j < s.n; ++j) {
        Vec v = load_some(from + j * s.inner, lanes);
        VecI at = broadcast(static_cast<int32_t>(j));
        for (int64_t k = 0; k < s.k; ++k) best[k].exchange(&v, &at);
      }
      for (int64_t k = 0; k < s.k; ++k) {
        put(o * s.stride + k * s.inner + first, lanes, best[k], index, value);
      }
    }
  };
  parallel_for(s.outer * vectors, items_worth(kMathGrain, s.n * s.k), strip);
}

// ---- several of a row ----

// Takes the place of the last of k entries in order.
void insert(const Entry& entry, int64_t k, Entry* best) {
  int64_t j = k - 1;
  for (; j > 0 && comes_first(entry, best[j - 1]); --j) best[j] = best[j - 1];
  best[j] = entry;
}

// Takes the place of the first of k entries in a heap, the worst.
void exchange_worst(const Entry& entry, int64_t k, Entry* best) {
  std::pop_heap(best, best + k, comes_first);
  best[k - 1] = entry;
  std::push_heap(best, best + k, comes_first);
}

// The k largest of a row of n, in falling order: a few are kept in order, more in a heap.
void largest_of_row(int64_t n, int64_t k, const float* x, Entry* best) {
  const bool few = k <= 32;
  const Entry& worst = few ? best[k - 1] : best[0];
  const auto see = [&](int64_t i) {
    const Entry entry{x[i], static_cast<int32_t>(i)};
    if (!comes_first(entry, worst)) return;
    few ? insert(entry, k, best) : exchange_worst(entry, k, best);
  };
  for (int64_t i = 0; i < k; ++i) best[i] = {x[i], static_cast<int32_t>(i)};
  few ? std::sort(best, best + k, comes_first) : std::make_heap(best, best + k, comes_first);
  int64_t i = k;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec v = load(x + i);
    for (unsigned bits = lane_bits((v >= worst.value) | (v != v)); bits; bits &= bits - 1) {
      see(i + __builtin_ctz(bits));
    }
  }
  for (; i < n; ++i) see(i);
  if (!few) std::sort_heap(best, best + k, comes_first);
}

void put_row(const ArgMaxShape& s, int64_t o, int64_t i, const Entry* best, float* index,
             float* value) {
  for (int64_t j = 0; j < s.k; ++j) {
    const int64_t at = o * s.stride + j * s.inner + i;
    if (index) index[at] = static_cast<float>(best[j].index);
    if (value) value[at] = best[j].value;
  }
}

void largest_several(const ArgMaxShape& s, const float* x, float* index, float* value) {
  const int64_t height = smaller(kLanes, s.inner), strips = ceil_div(s.inner, height);
  const int64_t rows_size = s.inner == 1 ? 0 : aligned_size(height * s.n);
  const int64_t heap_size = aligned_size(2 * s.k);
  static_assert(sizeof(Entry) == 2 * sizeof(float));
  const int64_t worth = larger(1, s.outer * s.inner * s.n / kGrain);
  const auto most = static_cast<int>(smaller(worth, num_threads()));
  const Scratch scratch(most * (rows_size + heap_size));
  parallel(most, [&](int thread, int threads) {
    float* rows = scratch.data() + thread * (rows_size + heap_size);
    auto* best = reinterpret_cast<Entry*>(rows + rows_size);
    const Range own = part_of(s.outer * strips, thread, threads);
    for (int64_t item = own.begin; item < own.end; ++item) {
      const int64_t o = item / strips, first = item % strips * height;
      const int64_t count = smaller(height, s.inner - first);
      const float* from = x + o * s.n * s.inner + first;
      if (s.inner > 1) turn(s.n, count, from, s.inner, rows, s.n);
      for (int64_t i = 0; i < count; ++i) {
        largest_of_row(s.n, s.k, s.inner > 1 ? rows + i * s.n : from, best);
        put_row(s, o, first + i, best, index, value);
      }
    }
  });
}

void largest(const ArgMaxShape& s, const float* x, float* index, float* value) {
  if (s.outer == 0 || s.n == 0 || s.inner == 0) return;
  if (s.k == 1) return largest_one(s, x, index, value);
  if (s.inner > 1 && s.k <= kMostInLanes) return largest_in_lanes(s, x, index, value);
  largest_several(s, x, index, value);
}

}  // namespace

const ArgMaxKernels arg_max = {largest};

}  // namespace pydl::kernels::PYDL_ISA
