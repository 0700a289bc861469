// Correlations in which each channel is a group of its own: vectors of channels, no products of
// matrices. Windows are of floats, whatever the source.
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

// Offsets of all taps of a part in the window of `whole`, in scratch.
int64_t offsets_size(const Correlation& part) { return aligned_size(2 * part.taps()); }
void make_offsets(const Correlation& part, const Correlation& whole, const Units& u,
                  int64_t* offsets) {
  const auto position = [&](int a, int64_t tap) {
    const CorrelationAxis& axis = part.axis[a];
    return axis.src_first - whole.axis[a].src_first + tap * axis.tap_step;
  };
  for (int64_t i = 0; i < part.taps(); ++i) {
    const Tap t = tap_at(part, i);
    offsets[i] = position(0, t.t0) / whole.axis[0].tap_step * u.plane_size +
                 position(1, t.t1) * u.row_size + position(2, t.t2) * whole.ic;
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

constexpr int64_t kPixels = 512;

// Loads may run over into the next pixel, and behind the last one of a window: kLanes floats more.
int64_t window_size(const Units& u) { return u.group_size + aligned_size(kLanes); }

template <class E>
void run_unit(const Correlation& c, const Units& u, const Unit& unit, const int64_t* offsets,
              const float* window, const float* packed, const Epilogue& epilogue, E* dst) {
  const int64_t taps = c.taps(), width = round_up(c.ic, kLanes), step = u.column_step * c.ic;
  const int64_t dst_step = c.axis[2].dst_step * c.oc;
  for (int64_t j = 0; j < c.ic; j += kLanes) {
    const int64_t n = smaller(kLanes, c.ic - j);
    const Vec first = epilogue.bias ? load_n(epilogue.bias + j, n) : Vec{};
    for (int64_t r = 0; r < unit.rows; ++r) {
      const float* row = window + r * u.row_step * u.row_size + j;
      const int64_t at_row = dst_offset(c, unit, r, 0) + j;
      in_groups(unit.columns, [&]<int P>(int64_t i) {
        Vec acc[P];
#pragma GCC unroll 9
        for (int p = 0; p < P; ++p) acc[p] = first;
        for (int64_t t = 0; t < taps; ++t) {
          const Vec w = load(packed + t * width + j);
          const float* x = row + offsets[t] + i * step;
#pragma GCC unroll 9
          for (int p = 0; p < P; ++p) acc[p] += w * load(x + p * step);
        }
#pragma GCC unroll 9
        for (int p = 0; p < P; ++p) {
          const int64_t y = at_row + (i + p) * dst_step;
          if (epilogue.residual) acc[p] += load_n(epilogue.residual, y, n);
          if (epilogue.relu) acc[p] = relu(acc[p]);
          store_n(dst + y, acc[p], n);
        }
      });
    }
  }
}

// An axis whose window holds what those of all parts do.
CorrelationAxis enclosing(const CorrelationPart* parts, int64_t count, int axis) {
  CorrelationAxis whole = parts[0].shape->axis[axis];
  int64_t end = whole.src_first;
  whole.taps = 0;
  for (int64_t p = 0; p < count; ++p) {
    const CorrelationAxis& a = parts[p].shape->axis[axis];
    whole.count = larger(whole.count, a.count);
    if (a.taps == 0 || a.count == 0) continue;
    const int64_t a_end = a.src_first + (a.taps - 1) * a.tap_step + 1;
    end = whole.taps == 0 ? a_end : larger(end, a_end);
    whole.src_first = whole.taps == 0 ? a.src_first : smaller(whole.src_first, a.src_first);
    whole.taps = end - whole.src_first;
  }
  whole.tap_step = 1;
  return whole;
}

Correlation enclosing(const CorrelationPart* parts, int64_t count) {
  Correlation whole = merged(*parts[0].shape);
  for (int a = 0; a < 3 && count > 1; ++a) whole.axis[a] = enclosing(parts, count, a);
  return whole;
}

// What a part has of a unit of all.
Unit unit_of(const Correlation& part, Unit unit) {
  const bool inside = unit.plane < part.axis[0].count;
  unit.rows = inside ? smaller(unit.rows, part.axis[1].count - unit.row) : 0;
  unit.columns = smaller(unit.columns, part.axis[2].count - unit.column);
  return unit;
}

// So many outputs of each part that what all write in a unit, row by row, stays in L2.
constexpr int64_t kMostWritten = 32 * 1024;  // floats
int64_t pixels_of(const Correlation& whole, int64_t count) {
  if (count == 1) return kPixels;
  const int64_t floats = whole.axis[2].dst_step * whole.ic;
  return smaller(larger(kMostWritten / floats, 1), kPixels);
}

// Unit by unit, all parts on each: they share the window, and what they write lies side by side.
void run(const CorrelationPart* parts, int64_t count, ConstArray src, const Epilogue& epilogue,
         Array dst) {
  const Correlation whole = enclosing(parts, count);
  if (outputs(whole) == 0) return;
  const int threads = threads_for(parts, count);
  const Units u = make_units(whole, pixels_of(whole, count), threads, sizeof(float), whole.ic);
  int64_t windows_at = 0;
  for (int64_t p = 0; p < count; ++p) windows_at += offsets_size(*parts[p].shape);
  Scratch scratch(windows_at + threads * window_size(u));
  int64_t* const offsets = reinterpret_cast<int64_t*>(scratch.data());
  int64_t* next = offsets;
  for (int64_t p = 0; p < count; next += offsets_size(*parts[p].shape) / 2, ++p) {
    make_offsets(*parts[p].shape, whole, u, next);
  }
  parallel(threads, [&](int thread, int got) {
    float* window = scratch.data() + windows_at + thread * window_size(u);
    const Range range = part_of(u.count, thread, got);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const Unit unit = unit_at(whole, u, i);
      copy_window(whole, u, unit, src, window);
      const int64_t* of_part = offsets;
      for (int64_t p = 0; p < count; of_part += offsets_size(*parts[p].shape) / 2, ++p) {
        const Correlation c = merged(*parts[p].shape);
        with_type(dst, [&](auto* to) {
          run_unit(c, u, unit_of(c, unit), of_part, window, parts[p].packed, epilogue, to);
        });
      }
    }
  });
}

// ---- gradient with respect to the weights ----

template <class E>
void weights_unit(const Correlation& c, const Units& u, const Unit& unit, const int64_t* offsets,
                  const float* window, const E* ddst, float* gradient) {
  const int64_t width = round_up(c.ic, kLanes), step = u.column_step * c.ic;
  const int64_t ddst_step = c.axis[2].dst_step * c.oc;
  for (int64_t r = 0; r < unit.rows; ++r) {  // a row of ddst stays in L1
    for (int64_t j = 0; j < c.ic; j += kLanes) {
      const int64_t n = smaller(kLanes, c.ic - j);
      const float* row = window + r * u.row_step * u.row_size + j;
      const E* ddst_row = ddst + dst_offset(c, unit, r, 0) + j;
      in_groups(c.taps(), [&]<int T>(int64_t first) {
        const float* x = row;
        const E* dy = ddst_row;
        float* out = gradient + first * width + j;
        Vec acc[T];
#pragma GCC unroll 9
        for (int t = 0; t < T; ++t) acc[t] = load(out + t * width);
        for (int64_t i = 0; i < unit.columns; ++i, x += step, dy += ddst_step) {
          const Vec g = load_n(dy, n);
#pragma GCC unroll 9
          for (int t = 0; t < T; ++t) acc[t] += g * load(x + offsets[first + t]);
        }
#pragma GCC unroll 9
        for (int t = 0; t < T; ++t) store(out + t * width, acc[t]);
      });
    }
  }
}

// The units are cut into a fixed number of parts, each with a gradient of its own.
void backward_weights(const Correlation& shape, const WeightMap& map, ConstArray src,
                      ConstArray ddst, float* dw) {
  if (outputs(shape) == 0) return;
  const Correlation c = merged(shape);
  const int threads = threads_for(shape);
  const Units u = make_units(c, kPixels, 1, sizeof(float), c.ic);
  const int64_t size = size_of_weights(shape);
  const int parts = static_cast<int>(smaller(u.count, kMostParts));
  Scratch scratch(offsets_size(c) + parts * size + threads * window_size(u));
  int64_t* const offsets = reinterpret_cast<int64_t*>(scratch.data());
  make_offsets(c, c, u, offsets);
  float* gradients = scratch.data() + offsets_size(c);
  parallel(threads, [&](int thread, int got) {
    float* window = gradients + parts * size + thread * window_size(u);
    for (int part = thread; part < parts; part += got) {
      float* gradient = gradients + part * size;
      zero(size, gradient);
      const Range range = part_of(u.count, part, parts);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Unit unit = unit_at(c, u, i);
        copy_window(c, u, unit, src, window);
        with_type(ddst, [&](const auto* from) {
          weights_unit(c, u, unit, offsets, window, from, gradient);
        });
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
