// Cost volumes (cost_volume.h), vectorised across the channels of a pixel. What lies outside of an
// image is a pixel of zeros.

#include "kernels/cost_volume.h"

#include "kernels/cpu/tasks.h"

namespace pydl::kernels::PYDL_ISA {

extern const CostVolumeKernels cost_volume;

namespace {

using Shape = CostVolumeShape;

constexpr int kBlock = 8;  // displacements whose sums are in registers together

const float* pixel(const Shape& s, const float* image, const float* zeros, int64_t y, int64_t x) {
  const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
  return inside ? image + (y * s.w + x) * s.c : zeros;
}

template <bool kSubtract>
PYDL_INLINE void add_block(int64_t channels, const float* a, const float* const* b, Vec* sum) {
  for_each_vector(0, channels, [&](int64_t i, int64_t lanes) {
    const Vec u = load_some(a + i, lanes);
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) {
      const Vec v = load_some(b[k] + i, lanes);
      sum[k] += kSubtract ? abs(u - v) : u * v;
    }
  });
}

// One place's displacements. a, b: images
template <bool kSubtract>
void compare(const Shape& s, const float* a, const float* b, const float* zeros, int64_t i,
             int64_t j, float* y) {
  const auto scale = static_cast<float>(1 / s.patch_size());
  const int64_t count = s.displacements(), side = s.side(), patch = s.kernel * s.kernel;
  for (int64_t d = 0; d < count; d += kBlock) {
    const int64_t used = smaller(kBlock, count - d);
    Vec sum[kBlock] = {};
    for (int64_t k = 0; k < patch; ++k) {
      const int64_t py = s.start(i) + k / s.kernel, px = s.start(j) + k % s.kernel;
      const float* const u = pixel(s, a, zeros, py, px);
      if (!kSubtract && u == zeros) continue;
      const float* v[kBlock];
      for (int m = 0; m < kBlock; ++m) {
        const int64_t at = d + m, dy = at / side - s.radius(), dx = at % side - s.radius();
        v[m] = m < used ? pixel(s, b, zeros, py + dy * s.stride2, px + dx * s.stride2) : zeros;
      }
      add_block<kSubtract>(s.c, u, v, sum);
    }
    for (int m = 0; m < used; ++m) y[d + m] = PYDL_ISA::sum(sum[m]) * scale;
  }
}

void forward(const Shape& s, const float* a, const float* b, float* y) {
  const int64_t image = s.h * s.w * s.c, count = s.displacements();
  const auto work = static_cast<int64_t>(s.patch_size()) * count;
  parallel_for_scratch(s.n * s.out_h * s.out_w, items_worth(kGrain, work), s.c,
                       [&](int64_t begin, int64_t end, float* zeros) {
                         __builtin_memset(zeros, 0, s.c * sizeof(float));
                         for (int64_t place = begin; place < end; ++place) {
                           const int64_t n = place / (s.out_h * s.out_w),
                                         at = place % (s.out_h * s.out_w);
                           const auto run = s.subtract ? &compare<true> : &compare<false>;
                           run(s, a + n * image, b + n * image, zeros, at / s.out_w, at % s.out_w,
                               y + place * count);
                         }
                       });
}

// Pixels of the other image that a pixel was compared with, each with the gradient of that.
struct Partners {
  float* gradient;
  const float** pixels;
  int64_t count = 0;

  void add(float g, const float* p) {
    gradient[count] = g;
    pixels[count++] = p;
  }
};

// The place whose patch starts so far into the image; -1: none.
int64_t place_at(const Shape& s, int64_t start, int64_t out) {
  const int64_t from = start - s.start(0), i = from / s.stride1;
  return from >= 0 && from % s.stride1 == 0 && i < out ? i : -1;
}

// Of the pixel (y, x) of a, or, with kOfB, of b. dy: of this image's volume
template <bool kOfB>
void find_partners(const Shape& s, const float* other, const float* zeros, const float* dy,
                   int64_t y, int64_t x, Partners* out) {
  out->count = 0;
  const int64_t side = s.side(), patch = s.kernel * s.kernel;
  for (int64_t k = 0; k < patch; ++k) {
    const int64_t ky = k / s.kernel, kx = k % s.kernel;
    for (int64_t row = 0; row < side; ++row) {
      const int64_t vy = (row - s.radius()) * s.stride2;
      const int64_t i = place_at(s, y - (kOfB ? vy : 0) - ky, s.out_h);
      if (i < 0) continue;
      for (int64_t column = 0; column < side; ++column) {
        const int64_t vx = (column - s.radius()) * s.stride2;
        const int64_t j = place_at(s, x - (kOfB ? vx : 0) - kx, s.out_w);
        if (j < 0) continue;
        const float* partner =
            pixel(s, other, zeros, kOfB ? y - vy : y + vy, kOfB ? x - vx : x + vx);
        if (partner == zeros && !s.subtract) continue;
        out->add(dy[(i * s.out_w + j) * side * side + row * side + column], partner);
      }
    }
  }
}

// dx = scale * sum of gradient partner, or of gradient sign(x - partner); four vectors at a time.
template <bool kSubtract>
void add_partners(const Partners& partners, int64_t channels, float scale, const float* x,
                  float* dx) {
  constexpr int kVectors = 4;
  const auto sum_up = [&](int64_t first, int64_t lanes, auto vectors) {
    constexpr int kCount = decltype(vectors)::value;
    Vec sum[kCount] = {}, own[kCount] = {};
    for (int m = 0; kSubtract && m < kCount; ++m) {
      own[m] = load_some(x + first + m * kLanes, lanes);
    }
    for (int64_t k = 0; k < partners.count; ++k) {
      const float g = partners.gradient[k];
      const float* partner = partners.pixels[k] + first;
#pragma GCC unroll 4
      for (int m = 0; m < kCount; ++m) {
        const Vec v = load_some(partner + m * kLanes, lanes);
        const Vec with = broadcast(g);
        sum[m] += kSubtract ? select(own[m] > v, with, select(own[m] < v, -with, Vec{})) : g * v;
      }
    }
    for (int m = 0; m < kCount; ++m) store_some(dx + first + m * kLanes, scale * sum[m], lanes);
  };
  int64_t i = 0;
  for (; i + kVectors * kLanes <= channels; i += kVectors * kLanes) {
    sum_up(i, kLanes, std::integral_constant<int, kVectors>());
  }
  for (; i < channels; i += kLanes) {
    sum_up(i, smaller(kLanes, channels - i), std::integral_constant<int, 1>());
  }
}

template <bool kOfB>
void backward(const Shape& s, const float* a, const float* b, const float* dy, float* dx) {
  const int64_t image = s.h * s.w * s.c, most = s.displacements() * s.kernel * s.kernel;
  const int64_t volume = s.out_h * s.out_w * s.displacements(), zeros_size = aligned_size(s.c);
  const auto scale = static_cast<float>(1 / s.patch_size());
  const float *own = kOfB ? b : a, *other = kOfB ? a : b;
  constexpr int64_t kPointer = 8 / sizeof(float);  // floats that take as much memory
  parallel_for_scratch(
      s.n * s.h * s.w, items_worth(kGrain, most * s.c),
      zeros_size + aligned_size(most) + kPointer * most,
      [&](int64_t begin, int64_t end, float* zeros) {
        __builtin_memset(zeros, 0, s.c * sizeof(float));
        float* gradients = zeros + zeros_size;
        Partners partners{gradients,
                          reinterpret_cast<const float**>(gradients + aligned_size(most))};
        const auto add = s.subtract ? &add_partners<true> : &add_partners<false>;
        for (int64_t at = begin; at < end; ++at) {
          const int64_t n = at / (s.h * s.w), y = at / s.w % s.h, x = at % s.w;
          find_partners<kOfB>(s, other + n * image, zeros, dy + n * volume, y, x, &partners);
          add(partners, s.c, scale, own + at * s.c, dx + at * s.c);
        }
      });
}

}  // namespace

const CostVolumeKernels cost_volume = {forward, backward<false>, backward<true>};

}  // namespace pydl::kernels::PYDL_ISA
