// Rotary positional embedding (rotary.h).
#include "kernels/rotary.h"

#include "kernels/cpu/map.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const RotaryKernels rotary;

namespace {

// The other one of each pair of neighbours.
PYDL_INLINE Vec swap_neighbours(Vec v) { return __builtin_shuffle(v, iota() ^ 1); }

template <class T>
PYDL_INLINE void rotate_neighbours(int64_t size, float sign, const float* cos, const float* sin,
                                   const T* x, T* y) {
  for_each_vector(0, size, [=](int64_t i, int64_t lanes) {
    const Vec v = load_some(x + i, lanes), turned = sign * load_some(sin + i, lanes);
    store_some(y + i, v * load_some(cos + i, lanes) + swap_neighbours(v) * turned, lanes);
  });
}

template <class T>
PYDL_INLINE void rotate_halves(int64_t size, float sign, const float* cos, const float* sin,
                               const T* x, T* y) {
  const int64_t half = size / 2;
  for_each_vector(0, half, [=](int64_t i, int64_t lanes) {
    const int64_t j = i + half;
    const Vec a = load_some(x + i, lanes), b = load_some(x + j, lanes);
    const Vec to_a = sign * load_some(sin + i, lanes), to_b = sign * load_some(sin + j, lanes);
    store_some(y + i, a * load_some(cos + i, lanes) + b * to_a, lanes);
    store_some(y + j, b * load_some(cos + j, lanes) + a * to_b, lanes);
  });
}

template <class T>
void rotate(const RotaryShape& s, bool back, const float* cos, const float* sin, const T* x, T* y) {
  const float sign = back ? -1 : 1;
  parallel_for(s.batch * s.steps, items_worth(kGrain, s.heads * s.size),
               [=](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t row = begin; row < end; ++row) {
                   const int64_t table = row % s.steps * s.size;
                   for (int64_t i = 0; i < s.heads * s.size; i += s.size) {
                     const T* from = x + row * s.x_stride + i;
                     T* to = y + row * s.y_stride + i;
                     if (s.halves) {
                       rotate_halves(s.size, sign, cos + table, sin + table, from, to);
                     } else {
                       rotate_neighbours(s.size, sign, cos + table, sin + table, from, to);
                     }
                   }
                 }
               });
}

}  // namespace

const RotaryKernels rotary = {PYDL_TYPED(rotate)};

}  // namespace pydl::kernels::PYDL_ISA
