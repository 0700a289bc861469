// Cutting out images (image.h): row by row, a vector of a row at a time.
#include "kernels/image.h"

#include "kernels/cpu/bytes.h"
#include "kernels/cpu/map.h"

namespace pydl::kernels::PYDL_ISA {

extern const ImageKernels image;

namespace {

PYDL_INLINE Vec floats_at(const float* x, int64_t n) { return load_some(x, n); }
PYDL_INLINE Vec floats_at(const uint8_t* x, int64_t n) { return to_float(load_some(x, n)); }

PYDL_INLINE Vec reversed(Vec v) { return __builtin_shuffle(v, (int)kLanes - 1 - iota()); }

// f(i, n): (x - mean) * scale of the n columns from i on.
template <class F>
PYDL_INLINE void write_row(int64_t columns, bool flip, float* y, const F& f) {
  if (!flip) {
    for_each_vector(0, columns, [&](int64_t i, int64_t n) { store_some(y + i, f(i, n), n); });
    return;
  }
  int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    store(y + columns - kLanes - i, reversed(f(i, kLanes)));
  }
  const Vec rest = f(i, columns - i);
  for (int64_t k = 0; k < columns - i; ++k) y[columns - 1 - i - k] = rest[k];
}

template <class T>
void cut_out(const ImageCut& s, const T* x, const float* mean_image, const float* channel_mean,
             float scale, float* y) {
  for (int64_t c = 0; c < s.channels; ++c) {
    for (int64_t row = 0; row < s.rows; ++row, y += s.columns) {
      const int64_t from = (c * s.height + s.top + row) * s.width + s.left;
      if (mean_image) {
        write_row(s.columns, s.flip, y, [=](int64_t i, int64_t n) {
          return (floats_at(x + from + i, n) - load_some(mean_image + from + i, n)) * scale;
        });
      } else {
        const Vec mean = broadcast(channel_mean[c]);
        write_row(s.columns, s.flip, y, [=](int64_t i, int64_t n) {
          return (floats_at(x + from + i, n) - mean) * scale;
        });
      }
    }
  }
}

}  // namespace

const ImageKernels image = {cut_out<uint8_t>, cut_out<float>};

}  // namespace pydl::kernels::PYDL_ISA
