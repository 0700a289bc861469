// Correlations in which each channel is a group of its own: vectors of channels, no products of
// matrices.
//
// Windows are of floats, whatever the source, and lie in blocks of 16 channels: (blocks, taps of
// axis 0, rows, columns, 16). What an output needs of a vector of channels is then a few lines that
// follow one another; in the source they are as far apart as pixels, often a power of two, for
// which a cache has few places.
#include <utility>

#include "kernels/correlation.h"
#include "kernels/cpu/window.h"

namespace pydl::kernels::PYDL_ISA {

extern const CorrelationKernels depthwise;

namespace {

// The same problem with the channels in one group, which is how they lie in memory.
Correlation merged(Correlation c) {
  c.ic = c.oc = c.group;
  c.group = 1;
  return c;
}

// ---- packed weights: (taps, channels rounded up to vectors) ----

int64_t width_of(const Correlation& c) { return round_up(c.group, kLanes); }
int64_t width_of_channels(const Correlation& c) { return round_up(c.ic, kLanes); }  // if merged

int64_t size_of_weights(const Correlation& c) { return aligned_size(c.taps() * width_of(c)); }

int64_t packed_size(const Correlation& c, DType) { return size_of_weights(c); }

// Where tap `t` is: in the plain weights of a channel, and in a window of channels-last pixels.
struct Tap {
  int64_t t0, t1, t2;
};
Tap tap_at(const Correlation& c, int64_t t) {
  const int64_t t2 = t % c.axis[2].taps, rest = t / c.axis[2].taps;
  return {rest / c.axis[1].taps, rest % c.axis[1].taps, t2};
}
int64_t weight_offset(const WeightMap& m, const Tap& t) {
  return m.first + t.t0 * m.tap[0] + t.t1 * m.tap[1] + t.t2 * m.tap[2];
}

void pack(const Correlation& c, const WeightMap& m, const float* w, DType, float* packed) {
  for (int64_t t = 0; t < c.taps(); ++t, packed += width_of(c)) {
    const float* from = w + weight_offset(m, tap_at(c, t));
    for (int64_t g = 0; g < c.group; ++g) packed[g] = from[g * m.group];
    for (int64_t g = c.group; g < width_of(c); ++g) packed[g] = 0;
  }
}

// ---- windows ----

constexpr int64_t kPixels = 512;  // that a window makes, about
constexpr int64_t kBlock = 16;    // channels: a cache line

// Where channel j is in a pixel of blocks that are `block_size` apart.
int64_t in_blocks(int64_t j, int64_t block_size) { return j / kBlock * block_size + j % kBlock; }

Units blocked_units(const Correlation& c, int64_t pixels, int threads) {
  Correlation blocked = c;
  blocked.group = ceil_div(c.ic, kBlock);
  blocked.ic = blocked.oc = kBlock;
  Units u = make_units(blocked, pixels, threads, sizeof(float), kBlock);
  if (u.group_size / kBlock % 2 == 0) u.group_size += kBlock;  // neighbouring blocks: other places
  u.image_size = blocked.group * u.group_size;
  return u;
}

// A pixel's channels to blocks. A last vector is filled up with zeros.
template <class S>
PYDL_INLINE void copy_pixel(const S* from, int64_t channels, int64_t block_size, float* to) {
  int64_t j = 0;
  for (; j + kLanes <= channels; j += kLanes) store(to + in_blocks(j, block_size), load(from + j));
  if (j < channels) store(to + in_blocks(j, block_size), load_n(from + j, channels - j));
}

// Part of a source row; zeros where there is none.
template <class S>
void copy_pixels(const Correlation& c, const S* row, const RowPart& part, int64_t block_size,
                 float* to) {
  const auto& [first, step, count] = part;
  const Range inside =
      row == nullptr ? Range{count, count} : indices_inside(first, step, count, c.axis[2].src);
  for (int64_t j = 0; j < c.ic; j += kBlock) {
    float* block = to + in_blocks(j, block_size);
    zero(inside.begin * kBlock, block);
    zero((count - inside.end) * kBlock, block + inside.end * kBlock);
  }
  for (int64_t i = inside.begin; i < inside.end; ++i) {
    copy_pixel(row + (first + i * step) * c.ic, c.ic, block_size, to + i * kBlock);
  }
}

template <class S>
void copy_blocks(const Correlation& c, const Units& u, const Unit& unit, const S* src,
                 float* window) {
  for_each_window_row(c, u, unit, src, [&](const S* row, const RowPart& shown, int64_t offset) {
    copy_pixels(c, row, shown, u.group_size, window + offset);
  });
}

// Where the taps lie in a window, from the first one on, in scratch.
int64_t offsets_size(const Correlation& c) { return aligned_size(2 * c.taps()); }
void make_offsets(const Correlation& c, const Units& u, int64_t* offsets) {
  for (int64_t i = 0; i < c.taps(); ++i) {
    const Tap t = tap_at(c, i);
    offsets[i] = t.t0 * u.plane_size + t.t1 * c.axis[1].tap_step * u.row_size +
                 t.t2 * c.axis[2].tap_step * kBlock;
  }
}

// f.template operator()<N>(first) over [0, count) in as few groups of at most 9, the window of a
// 3x3 kernel, as there can be, and of nearly one size: a short one would wait for its own sums.
template <class F>
PYDL_INLINE void in_groups(int64_t count, const F& f) {
  const int groups = static_cast<int>(ceil_div(count, 9));
  for (int i = 0; i < groups; ++i) {
    const Range r = part_of(count, i, groups);
    const int64_t size = r.end - r.begin;
    [&]<int... N>(std::integer_sequence<int, N...>) {
      ((size == N + 1 ? f.template operator()<N + 1>(r.begin) : void()), ...);
    }(std::make_integer_sequence<int, 9>());
  }
}

// ---- forward ----

// The rows of taps that lie inside the source for a row of outputs: where in the source the first
// column's first tap is, which may be outside of its row, and the number of the row's first tap.
template <class S>
struct TapRow {
  const S* src;
  int64_t tap;
};

template <class S>
int64_t tap_rows_of(const Correlation& c, int64_t n, int64_t plane, int64_t row, const S* src,
                    TapRow<S>* rows) {
  const auto& [a0, a1, a2] = c.axis;
  const auto inside = [](const CorrelationAxis& a, int64_t i) {
    return indices_inside(a.src_first + i * a.src_step, a.tap_step, a.taps, a.src);
  };
  const Range planes = inside(a0, plane), lines = inside(a1, row);
  int64_t count = 0;
  for (int64_t t0 = planes.begin; t0 < planes.end; ++t0) {
    for (int64_t t1 = lines.begin; t1 < lines.end; ++t1) {
      const int64_t p = a0.src_first + plane * a0.src_step + t0 * a0.tap_step;
      const int64_t l = a1.src_first + row * a1.src_step + t1 * a1.tap_step;
      rows[count++] = {src + (((n * a0.src + p) * a1.src + l) * a2.src + a2.src_first) * c.ic,
                       (t0 * a1.taps + t1) * a2.taps};
    }
  }
  return count;
}

// Outputs that follow one another in a row, and the taps of axis 2 that all of them have.
struct Run {
  int64_t column, count;
  Range taps;
};

// f(Run) over a row: single outputs near its ends, where taps lie outside, and the rest.
template <class F>
PYDL_INLINE void runs_of(const CorrelationAxis& a, const F& f) {
  const Range first = indices_inside(a.src_first, a.src_step, a.count, a.src);
  const Range last =
      indices_inside(a.src_first + (a.taps - 1) * a.tap_step, a.src_step, a.count, a.src);
  const int64_t begin = larger(first.begin, last.begin);
  const int64_t end = larger(smaller(first.end, last.end), begin);
  const auto single = [&](int64_t i) {
    f(Run{i, 1, indices_inside(a.src_first + i * a.src_step, a.tap_step, a.taps, a.src)});
  };
  for (int64_t i = 0; i < smaller(begin, a.count); ++i) single(i);
  if (begin < end) f(Run{begin, end - begin, {0, a.taps}});
  for (int64_t i = end; i < a.count; ++i) single(i);
}

// P outputs, all their channels: a pixel's channels follow one another in memory, so the loop over
// them is inside. `y`: of the first output; the others are `dst_step` apart.
template <int P, class S, class E>
PYDL_INLINE void outputs_at(const Correlation& c, const TapRow<S>* rows, int64_t row_count,
                            int64_t column, Range taps, const float* packed,
                            const Epilogue& epilogue, int64_t y, E* dst) {
  const int64_t width = width_of_channels(c), step = c.axis[2].src_step * c.ic;
  const int64_t tap_step = c.axis[2].tap_step * c.ic, dst_step = c.axis[2].dst_step * c.oc;
  const auto vector = [&](int64_t j, int64_t n, auto load_x) {
    const Vec first = epilogue.bias ? load_n(epilogue.bias + j, n) : Vec{};
    Vec acc[P];
#pragma GCC unroll 9
    for (int p = 0; p < P; ++p) acc[p] = first;
    for (int64_t r = 0; r < row_count; ++r) {
      const S* x = rows[r].src + column * step + taps.begin * tap_step + j;
      const float* w = packed + (rows[r].tap + taps.begin) * width + j;
      for (int64_t t = taps.begin; t < taps.end; ++t, x += tap_step, w += width) {
        const Vec factor = load(w);
#pragma GCC unroll 9
        for (int p = 0; p < P; ++p) acc[p] += factor * load_x(x + p * step);
      }
    }
#pragma GCC unroll 9
    for (int p = 0; p < P; ++p) {
      const int64_t at = y + p * dst_step + j;
      if (epilogue.residual) acc[p] += load_n(epilogue.residual, at, n);
      if (epilogue.relu) acc[p] = relu(acc[p], epilogue.ceiling);
      store_n(dst + at, acc[p], n);
    }
  };
  int64_t j = 0;
  for (; j + kLanes <= c.ic; j += kLanes) vector(j, kLanes, [](const S* x) { return load(x); });
  const int64_t n = c.ic - j;
  if (n > 0) vector(j, n, [n](const S* x) { return load_n(x, n); });
}

template <class S, class E>
void run_row(const Correlation& c, const TapRow<S>* rows, int64_t row_count, const float* packed,
             const Epilogue& epilogue, int64_t y, E* dst) {
  const int64_t dst_step = c.axis[2].dst_step * c.oc;
  runs_of(c.axis[2], [&](const Run& run) {
    in_groups(run.count, [&]<int P>(int64_t i) {
      const int64_t column = run.column + i;
      outputs_at<P>(c, rows, row_count, column, run.taps, packed, epilogue, y + column * dst_step,
                    dst);
    });
  });
}

// The rows [range) of (images, axis 0, axis 1), of all parts: what they write lies side by side.
template <class S, class E>
void run_rows(const CorrelationPart* parts, int64_t count, Range range, int64_t planes,
              int64_t lines, const S* src, const Epilogue& epilogue, TapRow<S>* rows, E* dst) {
  for (int64_t i = range.begin; i < range.end; ++i) {
    const int64_t line = i % lines, plane = i / lines % planes, n = i / lines / planes;
    for (int64_t p = 0; p < count; ++p) {
      const Correlation c = merged(*parts[p].shape);
      if (plane >= c.axis[0].count || line >= c.axis[1].count) continue;
      const int64_t found = tap_rows_of(c, n, plane, line, src, rows);
      const Unit unit{n, 1, plane, line, 1, 0, c.axis[2].count};
      run_row(c, rows, found, parts[p].packed, epilogue, dst_offset(c, unit, 0, 0), dst);
    }
  }
}

void run(const CorrelationPart* parts, int64_t count, ConstArray src, const Epilogue& epilogue,
         Array dst) {
  int64_t planes = 0, lines = 0, tap_rows = 0;
  for (int64_t p = 0; p < count; ++p) {
    const auto& [a0, a1, a2] = parts[p].shape->axis;
    if (a2.count == 0) continue;
    planes = larger(planes, a0.count);
    lines = larger(lines, a1.count);
    tap_rows = larger(tap_rows, a0.taps * a1.taps);
  }
  const int64_t all = parts[0].shape->n * planes * lines;
  if (all == 0) return;
  const int threads = threads_for(parts, count);
  const int64_t list_size = aligned_size(4 * tap_rows);  // floats: a pointer and a number for each
  Scratch scratch(threads * list_size);
  parallel(threads, [&](int thread, int got) {
    const Range range = part_of(all, thread, got);
    float* list = scratch.data() + thread * list_size;
    with_type(src, [&]<class S>(const S* from) {
      with_type(dst, [&](auto* to) {
        run_rows(parts, count, range, planes, lines, from, epilogue,
                 reinterpret_cast<TapRow<S>*>(list), to);
      });
    });
  });
}

// ---- gradient with respect to the weights ----

// The gradients of a unit's outputs, in blocks: (blocks, rows, columns, 16).
int64_t ddst_block(const Units& u) {
  return u.rows * u.columns * kBlock + (u.rows * u.columns % 2 == 0 ? kBlock : 0);
}
int64_t ddst_size(const Correlation& c, const Units& u) {
  return aligned_size(ceil_div(c.ic, kBlock) * ddst_block(u));
}

template <class E>
void copy_ddst(const Correlation& c, const Units& u, const Unit& unit, const E* ddst, float* to) {
  const int64_t step = c.axis[2].dst_step * c.oc;
  for (int64_t r = 0; r < unit.rows; ++r) {
    const E* from = ddst + dst_offset(c, unit, r, 0);
    for (int64_t i = 0; i < unit.columns; ++i, from += step, to += kBlock) {
      copy_pixel(from, c.ic, ddst_block(u), to);
    }
  }
}

void weights_unit(const Correlation& c, const Units& u, const Unit& unit, const int64_t* offsets,
                  const float* window, const float* ddst, float* gradient) {
  const int64_t width = round_up(c.ic, kLanes), step = u.column_step * kBlock;
  for (int64_t j = 0; j < c.ic; j += kLanes) {
    in_groups(c.taps(), [&]<int T>(int64_t first) {
      const float* dy = ddst + in_blocks(j, ddst_block(u));
      float* out = gradient + first * width + j;
      Vec acc[T];
#pragma GCC unroll 9
      for (int t = 0; t < T; ++t) acc[t] = load(out + t * width);
      for (int64_t r = 0; r < unit.rows; ++r) {
        const float* x = window + in_blocks(j, u.group_size) + r * u.row_step * u.row_size;
        for (int64_t i = 0; i < unit.columns; ++i, x += step, dy += kBlock) {
          const Vec g = load(dy);
#pragma GCC unroll 9
          for (int t = 0; t < T; ++t) acc[t] += g * load(x + offsets[first + t]);
        }
      }
#pragma GCC unroll 9
      for (int t = 0; t < T; ++t) store(out + t * width, acc[t]);
    });
  }
}

// The units are cut into a fixed number of parts, each with a gradient of its own.
void backward_weights(const Correlation& shape, const WeightMap& map, ConstArray src,
                      ConstArray ddst, float* dw) {
  if (outputs(shape) == 0) return;
  const Correlation c = merged(shape);
  const int threads = threads_for(shape);
  const Units u = blocked_units(c, kPixels, 1);
  const int64_t size = size_of_weights(shape);
  const int parts = static_cast<int>(smaller(u.count, kMostParts));
  const int64_t own = aligned_size(u.image_size) + ddst_size(c, u);  // of a thread
  Scratch scratch(offsets_size(c) + parts * size + threads * own);
  int64_t* const offsets = reinterpret_cast<int64_t*>(scratch.data());
  make_offsets(c, u, offsets);
  float* gradients = scratch.data() + offsets_size(c);
  parallel(threads, [&](int thread, int got) {
    float* window = gradients + parts * size + thread * own;
    float* dy = window + aligned_size(u.image_size);
    for (int part = thread; part < parts; part += got) {
      float* gradient = gradients + part * size;
      zero(size, gradient);
      const Range range = part_of(u.count, part, parts);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Unit unit = unit_at(c, u, i);
        with_type(src, [&](const auto* from) { copy_blocks(c, u, unit, from, window); });
        with_type(ddst, [&](const auto* from) { copy_ddst(c, u, unit, from, dy); });
        weights_unit(c, u, unit, offsets, window, dy, gradient);
      }
    }
  });
  for (int64_t t = 0; t < c.taps(); ++t) {
    float* out = dw + weight_offset(map, tap_at(c, t));
    for (int64_t g = 0; g < shape.group; ++g) {
      float total = 0;
      for (int part = 0; part < parts; ++part)
        total += gradients[part * size + t * width_of(shape) + g];
      out[g * map.group] += total;
    }
  }
}

}  // namespace

const CorrelationKernels depthwise = {packed_size, pack, run, backward_weights};

}  // namespace pydl::kernels::PYDL_ISA
