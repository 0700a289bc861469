// Cost volumes (cost_volume.h), vectorised across the channels of a pixel. What lies outside of an
// image is a pixel of zeros.
//
// Pixels of a row that are a multiple of stride2 apart are compared with the same pixels of the
// other image: a few of the ones with a few of the others at a time, from registers.

#include "kernels/cost_volume.h"

#include <numeric>
#include <utility>

#include "kernels/cpu/tasks.h"

namespace pydl::kernels::PYDL_ISA {

extern const CostVolumeKernels cost_volume;

namespace {

using Shape = CostVolumeShape;

const float* pixel(const Shape& s, const float* image, const float* zeros, int64_t y, int64_t x) {
  const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
  return inside ? image + (y * s.w + x) * s.c : zeros;
}

// ---- forward ----

constexpr int kPlaces = 4, kShifts = kLanes == 16 ? 4 : 2;  // whose sums are in registers together

// Lanes of a and b by turns, kStep of each, after two such groups of each were added into one.
template <int kStep, int... kLane>
PYDL_INLINE Vec add_neighbours(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(a, b, (kLane & kStep ? kLanes + (kLane ^ kStep) : kLane)...) +
         __builtin_shufflevector(a, b, (kLane & kStep ? kLanes + kLane : kLane ^ kStep)...);
}

// Lane i: the sum over the lanes of v[i], of kCount = kLanes vectors.
template <int kCount = kLanes>
PYDL_INLINE Vec sums(const Vec* v) {
  if constexpr (kCount == 1) {
    return v[0];
  } else {
    return add_neighbours<kCount / 2>(sums<kCount / 2>(v), sums<kCount / 2>(v + kCount / 2),
                                      std::make_integer_sequence<int, kLanes>());
  }
}

// sum (kPlaces, kShifts) += those of the products, or distances, of a's pixels with b's.
template <bool kSubtract>
PYDL_INLINE void add_tile(int64_t channels, const float* const* a, const float* const* b,
                          Vec* sum) {
  const auto add = [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    Vec v[kShifts];
#pragma GCC unroll 4
    for (int m = 0; m < kShifts; ++m) v[m] = load_some(b[m] + i, lanes);
#pragma GCC unroll 4
    for (int p = 0; p < kPlaces; ++p) {
      const Vec u = load_some(a[p] + i, lanes);
#pragma GCC unroll 4
      for (int m = 0; m < kShifts; ++m) {
        sum[p * kShifts + m] += kSubtract ? abs(u - v[m]) : u * v[m];
      }
    }
  };
  int64_t i = 0;
  for (; i + kLanes <= channels; i += kLanes) add(i, kLanes);
  if (i < channels) add(i, channels - i);
}

// One row of places, `i`, with one row of displacements. a, b: images   y: of the first place, at
// the first displacement of the row
template <bool kSubtract>
class RowOfPlaces {
 public:
  RowOfPlaces(const Shape& s, const float* a, const float* b, const float* zeros, int64_t i,
              int64_t row, float* y)
      : s_(s),
        a_(a),
        b_(b),
        zeros_(zeros),
        y_(y),
        top_(s.start(i)),
        shift_((row - s.radius()) * s.stride2),
        apart_(s.stride2 / std::gcd(s.stride1, s.stride2)),
        step_(s.stride1 / std::gcd(s.stride1, s.stride2)) {}

  void compare() const {
    for (int64_t first = 0; first < smaller(apart_, s_.out_w); ++first) {
      const int64_t count = ceil_div(s_.out_w - first, apart_);
      for (int64_t t = 0; t < count; t += kPlaces) {
        const int64_t places = smaller(kPlaces, count - t);
        const int64_t end = step_ * (t + places - 1) + s_.side();
        for (int64_t v = step_ * t; v < end; v += kShifts) compare_tile(first, t, places, v);
      }
    }
  }

 private:
  // The places first + apart (t + p), and of b the pixels v, v + 1 ...: displacement d of a place
  // is the pixel step (t + p) + d.
  void compare_tile(int64_t first, int64_t t, int64_t places, int64_t v) const {
    Vec sum[kPlaces * kShifts] = {};
    for (int64_t k = 0; k < s_.kernel * s_.kernel; ++k) {
      const int64_t y = top_ + k / s_.kernel, left = k % s_.kernel;
      const float *a[kPlaces], *b[kShifts];
      bool outside = true;
      for (int p = 0; p < kPlaces; ++p) {
        const int64_t x = s_.start(first + apart_ * (t + p)) + left;
        a[p] = p < places ? pixel(s_, a_, zeros_, y, x) : zeros_;
      }
      for (int m = 0; m < kShifts; ++m) {
        const int64_t x = s_.start(first) + left + s_.stride2 * (v + m - s_.radius());
        b[m] = pixel(s_, b_, zeros_, y + shift_, x);
        outside = outside && b[m] == zeros_;
      }
      if (kSubtract || !outside) add_tile<kSubtract>(s_.c, a, b, sum);
    }
    float values[kPlaces * kShifts];
#pragma GCC unroll 2
    for (int i = 0; i < kPlaces * kShifts; i += kLanes) {
      store(values + i, sums(sum + i) * static_cast<float>(1 / s_.patch_size()));
    }
    for (int p = 0; p < places; ++p) {
      const int64_t d = v - step_ * (t + p);
      float* y = y_ + (first + apart_ * (t + p)) * s_.displacements() + d;
      if (d >= 0 && d + kShifts <= s_.side()) {
        __builtin_memcpy(y, values + p * kShifts, kShifts * sizeof(float));
      } else {
        for (int m = 0; m < kShifts; ++m) {
          if (d + m >= 0 && d + m < s_.side()) y[m] = values[p * kShifts + m];
        }
      }
    }
  }

  const Shape& s_;
  const float *a_, *b_, *zeros_;
  float* y_;
  int64_t top_, shift_;   // of the patches' rows in a, and how far below they are in b
  int64_t apart_, step_;  // of places that share pixels of b, in places and in displacements
};

void forward(const Shape& s, const float* a, const float* b, float* y) {
  const int64_t image = s.h * s.w * s.c, side = s.side();
  const auto work = static_cast<int64_t>(s.patch_size()) * side * s.out_w;
  parallel_for_scratch(s.n * s.out_h * side, items_worth(kGrain, work), s.c,
                       [&](int64_t begin, int64_t end, float* zeros) {
                         __builtin_memset(zeros, 0, s.c * sizeof(float));
                         for (int64_t item = begin; item < end; ++item) {
                           const int64_t place_row = item / side, row = item % side;
                           const int64_t n = place_row / s.out_h, i = place_row % s.out_h;
                           float* to = y + place_row * s.out_w * s.displacements() + row * side;
                           const float *from_a = a + n * image, *from_b = b + n * image;
                           if (s.subtract) {
                             RowOfPlaces<true>(s, from_a, from_b, zeros, i, row, to).compare();
                           } else {
                             RowOfPlaces<false>(s, from_a, from_b, zeros, i, row, to).compare();
                           }
                         }
                       });
}

// ---- backward ----

constexpr int kPixels = 4;                      // of a row, stride2 apart
constexpr int kVectors = kLanes == 16 ? 4 : 2;  // of channels, whose sums are in registers together

// Pixels of the other image that some of kPixels pixels were compared with, with their gradients.
struct Partners {
  float* gradients;  // (count, kPixels)
  const float** pixels;
  int64_t count;
};

// The place whose patch starts so far into the image; -1: none.
int64_t place_at(const Shape& s, int64_t start, int64_t out) {
  const int64_t from = start - s.start(0);
  if (s.stride1 == 1) return from < out ? from : -1;
  return from >= 0 && from % s.stride1 == 0 && from / s.stride1 < out ? from / s.stride1 : -1;
}

// Of the pixels (y, x), (y, x + stride2) ... of a, or, with kOfB, of b.
// dy: of this image's volume   g (side, side + kPixels - 1, kPixels): of the other image's pixels
// from (y, x) - radius stride2 on, stride2 apart
template <bool kOfB>
void add_gradients(const Shape& s, const float* dy, int64_t y, int64_t x, float* g) {
  const int64_t side = s.side(), width = side + kPixels - 1, sign = kOfB ? -1 : 1;
  for (int64_t k = 0; k < s.kernel * s.kernel; ++k) {
    for (int64_t row = 0; row < side; ++row) {
      const int64_t down = (row - s.radius()) * s.stride2;
      const int64_t i = place_at(s, y - (kOfB ? down : 0) - k / s.kernel, s.out_h);
      if (i < 0) continue;
      for (int64_t p = 0; p < kPixels; ++p) {
        const int64_t left = x + p * s.stride2 - k % s.kernel;
        float* to = g + ((s.radius() + sign * (row - s.radius())) * width + p) * kPixels + p;
        for (int64_t d = 0; d < side; ++d) {
          const int64_t right = (d - s.radius()) * s.stride2;
          const int64_t j = place_at(s, left - (kOfB ? right : 0), s.out_w);
          if (j < 0) continue;
          const int64_t at = kOfB ? side - 1 - d : d;
          to[at * kPixels] += dy[(i * s.out_w + j) * side * side + row * side + d];
        }
      }
    }
  }
}

// Those of all pixels that are inside of the image, or compared by their sign; the gradients close
// up over the others.
void keep_partners(const Shape& s, const float* other, const float* zeros, int64_t y, int64_t x,
                   Partners* partners) {
  const int64_t width = s.side() + kPixels - 1;
  partners->count = 0;
  for (int64_t k = 0; k < s.side() * width; ++k) {
    const int64_t down = (k / width - s.radius()) * s.stride2;
    const int64_t right = (k % width - s.radius()) * s.stride2;
    const float* partner = pixel(s, other, zeros, y + down, x + right);
    if (partner == zeros && !s.subtract) continue;
    partners->pixels[partners->count] = partner;
    float* to = partners->gradients + partners->count * kPixels;
    __builtin_memmove(to, partners->gradients + k * kPixels, kPixels * sizeof(float));
    ++partners->count;
  }
}

// dx = scale * sum of gradient partner, or of gradient sign(x - partner), for `count` pixels that
// are `step` floats apart.
template <bool kSubtract>
void add_partners(const Partners& partners, int64_t channels, float scale, const float* x,
                  int64_t count, int64_t step, float* dx) {
  const auto sum_up = [&](int64_t first, int64_t lanes, auto vectors)
      __attribute__((always_inline)) {
    constexpr int kCount = decltype(vectors)::value;
    Vec sum[kPixels][kCount] = {};
    const float* own[kPixels];
    for (int p = 0; p < kPixels; ++p) own[p] = x + (p < count ? p : 0) * step + first;
    for (int64_t k = 0; k < partners.count; ++k) {
      const float *g = partners.gradients + k * kPixels, *partner = partners.pixels[k] + first;
#pragma GCC unroll 4
      for (int m = 0; m < kCount; ++m) {
        const Vec v = load_some(partner + m * kLanes, lanes);
#pragma GCC unroll 4
        for (int p = 0; p < kPixels; ++p) {
          if constexpr (kSubtract) {
            const Vec u = load_some(own[p] + m * kLanes, lanes), with = broadcast(g[p]);
            sum[p][m] += select(u > v, with, select(u < v, -with, Vec{}));
          } else {
            sum[p][m] += g[p] * v;
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
      for (int m = 0; m < kCount; ++m) {
        if (p < count) store_some(dx + p * step + first + m * kLanes, scale * sum[p][m], lanes);
      }
    }
  };
  int64_t i = 0;
  for (; i + kVectors * kLanes <= channels; i += kVectors * kLanes) {
    sum_up(i, kLanes, std::integral_constant<int, kVectors>());
  }
  for (; i + kLanes <= channels; i += kLanes) {
    sum_up(i, kLanes, std::integral_constant<int, 1>());
  }
  if (i < channels) sum_up(i, channels - i, std::integral_constant<int, 1>());
}

template <bool kOfB>
void backward(const Shape& s, const float* a, const float* b, const float* dy, float* dx) {
  const int64_t image = s.h * s.w * s.c, volume = s.out_h * s.out_w * s.displacements();
  const int64_t most = s.side() * (s.side() + kPixels - 1), zeros_size = aligned_size(s.c);
  const auto scale = static_cast<float>(1 / s.patch_size());
  const float *own = kOfB ? b : a, *other = kOfB ? a : b;
  const int64_t run = kPixels * s.stride2, runs = ceil_div(s.w, run);  // columns
  constexpr int64_t kPointer = 8 / sizeof(float);  // floats that take as much memory
  parallel_for_scratch(
      s.n * s.h * runs, items_worth(kGrain, most * s.c * run),
      zeros_size + aligned_size(most * kPixels) + kPointer * most,
      [&](int64_t begin, int64_t end, float* zeros) {
        __builtin_memset(zeros, 0, s.c * sizeof(float));
        float* gradients = zeros + zeros_size;
        Partners partners{gradients,
                          reinterpret_cast<const float**>(gradients + aligned_size(most * kPixels)),
                          0};
        const auto add = s.subtract ? &add_partners<true> : &add_partners<false>;
        for (int64_t item = begin; item < end; ++item) {
          const int64_t n = item / (s.h * runs), y = item / runs % s.h, x0 = item % runs * run;
          for (int64_t x = x0; x < smaller(x0 + s.stride2, s.w); ++x) {
            __builtin_memset(gradients, 0, most * kPixels * sizeof(float));
            add_gradients<kOfB>(s, dy + n * volume, y, x, gradients);
            keep_partners(s, other + n * image, zeros, y, x, &partners);
            const int64_t at = n * image + (y * s.w + x) * s.c;
            const int64_t count = smaller(kPixels, ceil_div(s.w - x, s.stride2));
            add(partners, s.c, scale, own + at, count, s.stride2 * s.c, dx + at);
          }
        }
      });
}

}  // namespace

const CostVolumeKernels cost_volume = {forward, backward<false>, backward<true>};

}  // namespace pydl::kernels::PYDL_ISA
