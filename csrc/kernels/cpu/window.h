// The source of a correlation, a window at a time.
//
// The outputs are cut into units: some rows of one image, or all of some images. A unit's window of
// the source is copied, padded with zeros, into scratch that stays in L2.
#pragma once

#include <cstring>

#include "kernels/correlation.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/gemm_params.h"
#include "kernels/cpu/integers.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

inline int64_t outputs(const Correlation& c) {
  return c.n * c.axis[0].count * c.axis[1].count * c.axis[2].count;
}

// Sums over units are cut into at most so many parts, whatever the number of threads.
constexpr int64_t kMostParts = 8;

inline double work_of(const Correlation& c) {
  return static_cast<double>(outputs(c)) * c.group * c.oc * c.ic * c.taps();
}

inline int threads_for(const Correlation& c) {
  return work_of(c) < kParallelWork ? 1 : num_threads();
}
inline int threads_for(const CorrelationPart* parts, int64_t count) {
  double work = 0;
  for (int64_t p = 0; p < count; ++p) work += work_of(*parts[p].shape);
  return work < kParallelWork ? 1 : num_threads();
}

// A unit's outputs: of at most `images` one of axis 0, at most `rows` of axis 1 and `columns` of
// axis
// 2. Its window: (images, group, taps of axis 0, window_rows, window_columns, pitch), of which ic.
struct Units {
  int64_t images, rows, columns, bands, segments, count;
  int64_t row_step, column_step;  // in the window, between outputs
  int64_t window_rows, window_columns;
  int64_t pitch, row_size, plane_size, group_size, image_size;  // in elements
};

struct Unit {
  int64_t n, images, plane, row, rows, column, columns;
};

// An axis with a single tap keeps only the positions that it meets.
inline int64_t window_step(const CorrelationAxis& a) { return a.taps > 1 ? a.src_step : 1; }
inline int64_t window_extent(const CorrelationAxis& a, int64_t outputs) {
  return (outputs - 1) * window_step(a) + larger(a.taps - 1, 0) * a.tap_step + 1;
}

// The size of the parts when `count` is cut evenly into parts of at most `most`.
inline int64_t even_part(int64_t count, int64_t most) {
  return ceil_div(count, ceil_div(count, most));
}

inline void set_rows(const Correlation& c, int64_t rows, Units* u) {
  u->rows = even_part(c.axis[1].count, rows);
  u->bands = ceil_div(c.axis[1].count, u->rows);
  u->window_rows = window_extent(c.axis[1], u->rows);
  u->plane_size = u->window_rows * u->row_size;
  u->group_size = aligned_size(c.axis[0].taps * u->plane_size);
  u->image_size = c.group * u->group_size;
  u->count = ceil_div(c.n, u->images) * c.axis[0].count * u->bands * u->segments;
}

constexpr int64_t kMostWindow = 384 * 1024;  // bytes

// Units of about `pixels` outputs of one image whose windows, of elements of so many bytes, fit L2;
// at least one for each of `threads`.
inline Units make_units(const Correlation& c, int64_t pixels, int threads, int64_t element_bytes,
                        int64_t pitch) {
  Units u{};
  u.images = 1;
  u.pitch = pitch;
  u.columns = even_part(c.axis[2].count, 2 * pixels);
  u.segments = ceil_div(c.axis[2].count, u.columns);
  u.row_step = window_step(c.axis[1]);
  u.column_step = window_step(c.axis[2]);
  u.window_columns = window_extent(c.axis[2], u.columns);
  u.row_size = u.window_columns * pitch;
  set_rows(c, smaller(larger(pixels / u.columns, 1), c.axis[1].count), &u);
  const auto too_large = [&] { return u.image_size * element_bytes > kMostWindow; };
  const auto uneven = [&] { return u.count < 4 * threads && u.count % threads != 0; };
  while (u.rows > 1 && (too_large() || uneven())) set_rows(c, (u.rows + 1) / 2, &u);
  return u;
}

// Several small images in a unit, where they have one plane.
inline void join_images(const Correlation& c, int64_t pixels, int64_t element_bytes, Units* u) {
  if (u->bands * u->segments * c.axis[0].count != 1) return;
  const int64_t fit = smaller(pixels / (u->rows * u->columns),
                              kMostWindow / larger(u->image_size * element_bytes, 1));
  if (fit < 2) return;
  u->images = even_part(c.n, fit);
  set_rows(c, u->rows, u);
}

inline Unit unit_at(const Correlation& c, const Units& u, int64_t index) {
  const int64_t segment = index % u.segments, band = index / u.segments % u.bands;
  const int64_t rest = index / u.segments / u.bands;
  Unit unit;
  unit.n = rest / c.axis[0].count * u.images;
  unit.images = smaller(u.images, c.n - unit.n);
  unit.plane = rest % c.axis[0].count;
  unit.row = band * u.rows;
  unit.rows = smaller(u.rows, c.axis[1].count - unit.row);
  unit.column = segment * u.columns;
  unit.columns = smaller(u.columns, c.axis[2].count - unit.column);
  return unit;
}

template <class S, class T>
PYDL_INLINE void copy(const S* from, int64_t n, T* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
  if (i < n) store_n(to + i, load_n(from + i, n - i), n - i);
}

template <class T>
PYDL_INLINE void zero(int64_t n, T* to) {
  memset(static_cast<void*>(to), 0, static_cast<size_t>(n) * sizeof(T));
}

// The i in [0, count) for which first + i step lies in [0, size); begin = end if there are none.
inline Range indices_inside(int64_t first, int64_t step, int64_t count, int64_t size) {
  const int64_t begin = smaller(first < 0 ? ceil_div(-first, step) : 0, count);
  const int64_t end = first < size ? smaller((size - 1 - first) / step + 1, count) : 0;
  return {begin, larger(begin, end)};
}

// `count` positions of a source row from `first` on, `step` apart.
struct RowPart {
  int64_t first, step, count;
};

// One group's channels of a part of a row, to positions `pitch` apart.
template <class S, class T>
void copy_row(const Correlation& c, const S* row, const RowPart& part, T* to, int64_t pitch) {
  const auto& [first, step, count] = part;
  const int64_t pixel = c.group * c.ic;
  const Range inside = indices_inside(first, step, count, c.axis[2].src);
  zero(inside.begin * pitch, to);
  if (step * c.group == 1 && pitch == c.ic) {
    copy(row + (first + inside.begin) * pixel, (inside.end - inside.begin) * c.ic,
         to + inside.begin * c.ic);
  } else {
    for (int64_t i = inside.begin; i < inside.end; ++i) {
      copy(row + (first + i * step) * pixel, c.ic, to + i * pitch);
    }
  }
  zero((count - inside.end) * pitch, to + inside.end * pitch);
}

// visit(source row, null outside of the image; what the window shows of it; where the row begins in
// the window) for each row of one image's window.
template <class S, class Visit>
void for_each_window_row(const Correlation& c, const Units& u, const Unit& unit, const S* src,
                         const Visit& visit) {
  const auto& [a0, a1, a2] = c.axis;
  if (c.taps() == 0) return;
  const int64_t rows = window_extent(a1, unit.rows), row_jump = a1.taps > 1 ? 1 : a1.src_step;
  const RowPart shown{a2.src_first + unit.column * a2.src_step, a2.taps > 1 ? 1 : a2.src_step,
                      window_extent(a2, unit.columns)};
  for (int64_t t0 = 0; t0 < a0.taps; ++t0) {
    const int64_t plane = a0.src_first + unit.plane * a0.src_step + t0 * a0.tap_step;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = a1.src_first + unit.row * a1.src_step + r * row_jump;
      const bool inside = plane >= 0 && plane < a0.src && row >= 0 && row < a1.src;
      const int64_t at = ((unit.n * a0.src + plane) * a1.src + row) * a2.src * c.group * c.ic;
      visit(inside ? src + at : nullptr, shown, t0 * u.plane_size + r * u.row_size);
    }
  }
}

template <class S, class T>
void copy_image(const Correlation& c, const Units& u, const Unit& unit, const S* src, T* window) {
  for_each_window_row(c, u, unit, src, [&](const S* row, const RowPart& shown, int64_t offset) {
    T* to = window + offset;
    for (int64_t g = 0; g < c.group; ++g, to += u.group_size) {
      if (row) {
        copy_row(c, row + g * c.ic, shown, to, u.pitch);
      } else {
        zero(shown.count * u.pitch, to);
      }
    }
  });
}

template <class T>
void copy_window(const Correlation& c, const Units& u, const Unit& unit, ConstArray src,
                 T* window) {
  Unit image = unit;
  for (int64_t i = 0; i < unit.images; ++i, ++image.n) {
    with_type(src,
              [&](const auto* from) { copy_image(c, u, image, from, window + i * u.image_size); });
  }
}

// The first of the outputs of a unit's first image in row r, group g.
inline int64_t dst_offset(const Correlation& c, const Unit& unit, int64_t r, int64_t g) {
  const auto& [a0, a1, a2] = c.axis;
  const int64_t plane = a0.dst_first + unit.plane * a0.dst_step;
  const int64_t row = a1.dst_first + (unit.row + r) * a1.dst_step;
  const int64_t column = a2.dst_first + unit.column * a2.dst_step;
  return (((unit.n * a0.dst + plane) * a1.dst + row) * a2.dst + column) * c.group * c.oc + g * c.oc;
}

}  // namespace pydl::kernels::PYDL_ISA
