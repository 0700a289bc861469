// Regions of interest (roi.h), vectorised across channels.
//
// The forward passes share out rows of bins. The backward passes scatter, so there each thread has
// channels of an image for itself and walks all of its regions: what lands on one place is added in
// the order of the regions, whatever the number of threads.
#include "kernels/roi.h"

#include "kernels/cpu/tasks.h"
#include "kernels/cpu/turn.h"

namespace pydl::kernels::PYDL_ISA {

extern const RoiKernels roi;

namespace {

constexpr int64_t kBlock = 4 * kLanes;  // channels that are worked on together

// body.operator()<NV>(c, n): four vectors at once while there are as many, then single ones, n
// lanes in the last.
template <class Body>
PYDL_INLINE void for_each_group(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + kBlock <= channels; c += kBlock) body.template operator()<4>(c, kLanes);
  for (; c + kLanes <= channels; c += kLanes) body.template operator()<1>(c, kLanes);
  if (c < channels) body.template operator()<1>(c, channels - c);
}

// Bin b of region r: positions [h.begin, h.end) x [w.begin, w.end).
struct Bin {
  Range h, w;

  Bin(const RoiShape& s, const int32_t* rows, const int32_t* columns, int64_t r, int64_t b) {
    const int32_t* y = rows + 2 * (r * s.ph + b / s.pw);
    const int32_t* x = columns + 2 * (r * s.pw + b % s.pw);
    h = {y[0], y[1]};
    w = {x[0], x[1]};
  }
  bool empty() const { return h.begin >= h.end || w.begin >= w.end; }
  float share() const { return 1.0f / static_cast<float>((h.end - h.begin) * (w.end - w.begin)); }
};

// Channels of an image whose sums stay in the second cache: a multiple of what is worked on
// together.
int64_t scatter_block(const RoiShape& s) {
  constexpr int64_t kFloats = 1 << 17;
  const int64_t most = larger(kFloats / larger(1, s.h * s.w) / kBlock, 1) * kBlock;
  return smaller(most, round_up(s.c, kLanes));
}

// body(image, first channel, how many, sums): blocks of channels of images, in parallel. The sums
// (h * w, block), 0 at first, are then dx: its own rows are often a power of two apart, so that
// what is scattered over them would fight for a few sets of the cache.
template <class Body>
void for_each_block(const RoiShape& s, int64_t block, int64_t work, float* dx, const Body& body) {
  const int64_t blocks = ceil_div(s.c, block), places = s.h * s.w;
  const int64_t grain = items_worth(kGrain, (work + places) * smaller(block, s.c));
  parallel_for_scratch(
      s.n * blocks, grain, places * block, [&](int64_t begin, int64_t end, float* sums) {
        for (int64_t item = begin; item < end; ++item) {
          const int64_t n = item / blocks, c0 = item % blocks * block;
          const int64_t width = smaller(block, s.c - c0);
          for (int64_t i = 0; i < places * block; i += kLanes) store(sums + i, Vec{});
          body(n, c0, width, sums);
          float* to = dx + n * places * s.c + c0;
          for (int64_t i = 0; i < places; ++i) {
            for_each_vector(0, width, [&](int64_t c, int64_t lanes) {
              store_some(to + i * s.c + c, load_some(sums + i * block + c, lanes), lanes);
            });
          }
        }
      });
}

// ---- maximum ----

template <int NV, bool kIndices>
PYDL_INLINE void max_bin(const RoiShape& s, const Bin& bin, const float* x, int64_t n, float* y,
                         int32_t* argmax) {
  int64_t first = bin.h.begin * s.w + bin.w.begin;
  Vec best[NV];
  VecI index[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    best[v] = load_some(x + first * s.c + v * kLanes, n);
    index[v] = broadcast(static_cast<int32_t>(first));
  }
  for (int64_t h = bin.h.begin; h < bin.h.end; ++h, first += s.w) {
    const float* at = x + first * s.c;
    VecI here = broadcast(static_cast<int32_t>(first));
    for (int64_t w = bin.w.begin; w < bin.w.end; ++w, at += s.c, here += 1) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const Vec value = load_some(at + v * kLanes, n);
        const VecI greater = value > best[v];
        best[v] = select(greater, value, best[v]);
        if constexpr (kIndices) index[v] = select(greater, here, index[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    store_some(y + v * kLanes, best[v], n);
    if constexpr (kIndices) store_some(argmax + v * kLanes, index[v], n);
  }
}

template <bool kIndices>
[[gnu::flatten]] void max_of_bin(const RoiShape& s, const Bin& bin, const float* x, float* y,
                                 int32_t* argmax) {
  for_each_group(s.c, [&]<int NV>(int64_t c, int64_t n) {
    if (!bin.empty()) {
      return max_bin<NV, kIndices>(s, bin, x + c, n, y + c, kIndices ? argmax + c : nullptr);
    }
    for (int v = 0; v < NV; ++v) {
      store_some(y + c + v * kLanes, Vec{}, n);
      if constexpr (kIndices) store_some(argmax + c + v * kLanes, VecI{} - 1, n);
    }
  });
}

template <bool kIndices>
void max_of_all(const RoiShape& s, const int32_t* image, const int32_t* rows,
                const int32_t* columns, const float* x, float* y, int32_t* argmax) {
  parallel_for(s.rois * s.bins(), items_worth(kGrain, 4 * s.c), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = i / s.bins();
      max_of_bin<kIndices>(s, Bin(s, rows, columns, r, i % s.bins()),
                           x + image[r] * s.h * s.w * s.c, y + i * s.c,
                           kIndices ? argmax + i * s.c : nullptr);
    }
  });
}

void max_forward(const RoiShape& s, const int32_t* image, const int32_t* rows,
                 const int32_t* columns, const float* x, float* y, int32_t* argmax) {
  if (argmax) return max_of_all<true>(s, image, rows, columns, x, y, argmax);
  max_of_all<false>(s, image, rows, columns, x, y, nullptr);
}

void max_backward(const RoiShape& s, const int32_t* image, const float* dy, const int32_t* argmax,
                  float* dx) {
  constexpr int64_t kLine = 16, kAhead = 8;  // floats of a line of the cache; bins
  const int64_t block = scatter_block(s);
  const auto scatter = [&](int64_t n, int64_t c0, int64_t width, float* sums) {
    for (int64_t i = 0; i < s.rois * s.bins(); ++i) {
      const int32_t* at = argmax + i * s.c + c0;
      if (image[i / s.bins()] != n || at[0] < 0) continue;  // an empty bin is -1 in all channels
      const float* from = dy + i * s.c + c0;
      // Bins lie too far apart to be fetched unasked.
      for (int64_t c = 0; c < width; c += kLine) {
        __builtin_prefetch(at + kAhead * s.c + c);
        __builtin_prefetch(from + kAhead * s.c + c);
      }
      for (int64_t c = 0; c < width; ++c) sums[at[c] * block + c] += from[c];
    }
  };
  for_each_block(s, block, s.rois * s.bins(), dx, scatter);
}

// ---- mean of position-sensitive maps ----

// The maps of bin b come, one for each of the d outputs, to lie channels-last in scratch: (h * w,
// step). body(image, bin, its maps, scratch) for each bin of each image; no two share anything.
template <class Body>
void for_each_map(const RoiShape& s, const Body& body) {
  const int64_t places = s.h * s.w, step = round_up(s.c / s.bins(), kLanes);
  const int64_t grain = items_worth(kGrain, places * step);
  parallel_for_scratch(s.n * s.bins(), grain, places * step,
                       [&](int64_t begin, int64_t end, float* scratch) {
                         for (int64_t item = begin; item < end; ++item) {
                           const int64_t n = item / s.bins(), b = item % s.bins();
                           body(n, b, (n * s.c + b) * places, scratch);
                         }
                       });
}

[[gnu::flatten]] void mean_of_bin(const RoiShape& s, const Bin& bin, const float* maps,
                                  int64_t step, float* y) {
  const int64_t depth = s.c / s.bins();
  const float share = bin.empty() ? 0 : bin.share();
  for (int64_t d = 0; d < depth; d += kLanes) {
    Vec total{};
    for (int64_t h = bin.h.begin; h < bin.h.end; ++h) {
      Vec sum{};  // of its own: short sums are more accurate than a long one
      for (int64_t w = bin.w.begin; w < bin.w.end; ++w)
        sum += load(maps + (h * s.w + w) * step + d);
      total += sum;
    }
    float lanes[kLanes];
    store(lanes, total * share);
    for (int64_t i = 0; i < smaller(kLanes, depth - d); ++i) y[(d + i) * s.bins()] = lanes[i];
  }
}

[[gnu::flatten]] void spread_bin(const RoiShape& s, const Bin& bin, const float* dy, int64_t step,
                                 float* maps) {
  if (bin.empty()) return;
  const int64_t depth = s.c / s.bins();
  for (int64_t d = 0; d < depth; d += kLanes) {
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < smaller(kLanes, depth - d); ++i) lanes[i] = dy[(d + i) * s.bins()];
    const Vec part = load(lanes) * bin.share();
    for (int64_t h = bin.h.begin; h < bin.h.end; ++h) {
      for (int64_t w = bin.w.begin; w < bin.w.end; ++w) {
        float* to = maps + (h * s.w + w) * step + d;
        store(to, load(to) + part);
      }
    }
  }
}

void mean_forward(const RoiShape& s, const int32_t* image, const int32_t* rows,
                  const int32_t* columns, const float* x, float* y) {
  const int64_t depth = s.c / s.bins(), places = s.h * s.w, step = round_up(depth, kLanes);
  for_each_map(s, [&](int64_t n, int64_t b, int64_t first, float* maps) {
    turn(depth, places, x + first, s.bins() * places, maps, step);
    for (int64_t r = 0; r < s.rois; ++r) {
      if (image[r] == n) mean_of_bin(s, Bin(s, rows, columns, r, b), maps, step, y + r * s.c + b);
    }
  });
}

void mean_backward(const RoiShape& s, const int32_t* image, const int32_t* rows,
                   const int32_t* columns, const float* dy, float* dx) {
  const int64_t depth = s.c / s.bins(), places = s.h * s.w, step = round_up(depth, kLanes);
  for_each_map(s, [&](int64_t n, int64_t b, int64_t first, float* maps) {
    for (int64_t i = 0; i < places * step; i += kLanes) store(maps + i, Vec{});
    for (int64_t r = 0; r < s.rois; ++r) {
      if (image[r] == n) spread_bin(s, Bin(s, rows, columns, r, b), dy + r * s.c + b, step, maps);
    }
    turn(places, depth, maps, step, dx + first, s.bins() * places);
  });
}

// ---- bilinear samples ----

struct Taps {
  const int32_t* first;
  const int32_t* at;
  const float* weight;
};

// body(position in the image, weight) for each tap of bin b of region r.
template <class Body>
PYDL_INLINE void for_each_tap(const RoiShape& s, const Taps& rows, const Taps& columns, int64_t r,
                              int64_t b, const Body& body) {
  const int64_t i = r * s.ph + b / s.pw, j = r * s.pw + b % s.pw;
  for (int32_t k = rows.first[i]; k < rows.first[i + 1]; ++k) {
    for (int32_t l = columns.first[j]; l < columns.first[j + 1]; ++l) {
      body(rows.at[k] * s.w + columns.at[l], rows.weight[k] * columns.weight[l]);
    }
  }
}

[[gnu::flatten]] void align_bin(const RoiShape& s, const Taps& rows, const Taps& columns, int64_t r,
                                int64_t b, const float* x, float* y) {
  for_each_group(s.c, [&]<int NV>(int64_t c, int64_t n) {
    Vec sum[NV] = {};
    for_each_tap(s, rows, columns, r, b, [&](int64_t at, float weight) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[v] += weight * load_some(x + at * s.c + c + v * kLanes, n);
    });
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) store_some(y + c + v * kLanes, sum[v], n);
  });
}

[[gnu::flatten]] void align_bin_backward(const RoiShape& s, const Taps& rows, const Taps& columns,
                                         int64_t r, int64_t b, int64_t width, int64_t step,
                                         const float* dy, float* sums) {
  for_each_group(width, [&]<int NV>(int64_t c, int64_t n) {
    Vec part[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) part[v] = load_some(dy + c + v * kLanes, n);
    for_each_tap(s, rows, columns, r, b, [&](int64_t at, float weight) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        float* to = sums + at * step + c + v * kLanes;
        store_some(to, load_some(to, n) + weight * part[v], n);
      }
    });
  });
}

void align_forward(const RoiShape& s, const int32_t* image, const int32_t* row_first,
                   const int32_t* row_at, const float* row_weight, const int32_t* column_first,
                   const int32_t* column_at, const float* column_weight, const float* x, float* y) {
  const Taps rows{row_first, row_at, row_weight}, columns{column_first, column_at, column_weight};
  parallel_for(s.rois * s.bins(), items_worth(kGrain, 9 * s.c), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = i / s.bins();
      align_bin(s, rows, columns, r, i % s.bins(), x + image[r] * s.h * s.w * s.c, y + i * s.c);
    }
  });
}

void align_backward(const RoiShape& s, const int32_t* image, const int32_t* row_first,
                    const int32_t* row_at, const float* row_weight, const int32_t* column_first,
                    const int32_t* column_at, const float* column_weight, const float* dy,
                    float* dx) {
  const Taps rows{row_first, row_at, row_weight}, columns{column_first, column_at, column_weight};
  const int64_t block = scatter_block(s);
  const auto scatter = [&](int64_t n, int64_t c0, int64_t width, float* sums) {
    for (int64_t i = 0; i < s.rois * s.bins(); ++i) {
      const int64_t r = i / s.bins();
      if (image[r] != n) continue;
      align_bin_backward(s, rows, columns, r, i % s.bins(), width, block, dy + i * s.c + c0, sums);
    }
  };
  for_each_block(s, block, 9 * s.rois * s.bins(), dx, scatter);
}

}  // namespace

const RoiKernels roi = {max_forward,   max_backward,  mean_forward,
                        mean_backward, align_forward, align_backward};

}  // namespace pydl::kernels::PYDL_ISA
