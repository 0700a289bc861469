// Boxes around objects (boxes.h).
#include "kernels/boxes.h"

#include "kernels/cpu/lane_bits.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/turn.h"

namespace pydl::kernels::PYDL_ISA {

extern const BoxKernels box;

namespace {

// Keeps a product from becoming part of a fused multiply-add, which would round it otherwise.
PYDL_INLINE Vec rounded(Vec v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

void separate(int64_t n, const float* boxes, int64_t stride, float* planes) {
  if (stride == 4) return separate_columns<4>(n, boxes, planes, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) planes[k * n + i] = boxes[i * stride + k];
  }
}

// One axis of a box: its ends.
template <BoxCode kCode>
PYDL_INLINE void decode_axis(Vec p1, Vec p2, Vec t1, Vec t2, Vec* first, Vec* last) {
  if constexpr (kCode == BoxCode::kCorner) {
    *first = p1 + t1;
    *last = p2 + t2;
  } else if constexpr (kCode == BoxCode::kCornerSize) {
    *first = p1 + t1 * (p2 - p1);
    *last = p2 + t2 * (p2 - p1);
  } else {
    const Vec size = p2 - p1;
    const Vec center = (p1 + p2) * 0.5f + t1 * size, half = exp(t2) * size * 0.5f;
    *first = center - half;
    *last = center + half;
  }
}

template <BoxCode kCode>
void decode_as(int64_t n, const float* priors, const float* variances, const float* codes,
               float* boxes) {
  parallel_for_vectors(n, kMathGrain, [=](int64_t i, int64_t lanes) {
    Vec t[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      t[k] = load_some(codes + k * n + i, lanes);
      if (variances) t[k] *= load_some(variances + k * n + i, lanes);
    }
#pragma GCC unroll 2
    for (int axis = 0; axis < 2; ++axis) {
      Vec first, last;
      decode_axis<kCode>(load_some(priors + axis * n + i, lanes),
                         load_some(priors + (axis + 2) * n + i, lanes), t[axis], t[axis + 2],
                         &first, &last);
      store_some(boxes + axis * n + i, first, lanes);
      store_some(boxes + (axis + 2) * n + i, last, lanes);
    }
  });
}

void decode(int64_t n, BoxCode code, const float* priors, const float* variances,
            const float* codes, float* boxes) {
  constexpr auto kCorner = BoxCode::kCorner, kCornerSize = BoxCode::kCornerSize;
  if (code == kCorner) return decode_as<kCorner>(n, priors, variances, codes, boxes);
  if (code == kCornerSize) return decode_as<kCornerSize>(n, priors, variances, codes, boxes);
  decode_as<BoxCode::kCenterSize>(n, priors, variances, codes, boxes);
}

PYDL_INLINE Vec area(Vec x1, Vec y1, Vec x2, Vec y2, Vec extra) {
  const Vec width = x2 - x1, height = y2 - y1;
  const Vec product = rounded((width + extra) * (height + extra));
  return select((width < 0.0f) | (height < 0.0f), Vec{}, product);
}

// a b c ...: the smaller, or larger, as std::min and std::max order them where one is NaN.
PYDL_INLINE Vec std_min(Vec a, Vec b) { return select(b < a, b, a); }
PYDL_INLINE Vec std_max(Vec a, Vec b) { return select(a < b, b, a); }

void raise_overlaps(int64_t n, const float* box, const float* boxes, int64_t plane, float extra,
                    float* most) {
  Vec a[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) a[k] = broadcast(box[k]);
  const Vec more = broadcast(extra), own = area(a[0], a[1], a[2], a[3], more);
  parallel_for_vectors(n, kGrain, [=](int64_t i, int64_t lanes) {
    Vec b[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) b[k] = load_some(boxes + k * plane + i, lanes);
    const Vec width = std_min(a[2], b[2]) - std_max(a[0], b[0]) + more;
    const Vec height = std_min(a[3], b[3]) - std_max(a[1], b[1]) + more;
    const Vec shared = rounded(width * height);
    const Vec covered = own + area(b[0], b[1], b[2], b[3], more) - shared;
    const VecI meet = (width > 0.0f) & (height > 0.0f);
    const Vec found = select(meet, shared / covered, Vec{}), before = load_some(most + i, lanes);
    store_some(most + i, select(found > before, found, before), lanes);
  });
}

int64_t above(int64_t n, const float* x, float threshold, int32_t* index) {
  int64_t count = 0, i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (unsigned left = lane_bits(load(x + i) > threshold); left; left &= left - 1) {
      index[count++] = static_cast<int32_t>(i + __builtin_ctz(left));
    }
  }
  for (; i < n; ++i) {
    if (x[i] > threshold) index[count++] = static_cast<int32_t>(i);
  }
  return count;
}

}  // namespace

const BoxKernels box = {separate, decode, raise_overlaps, above};

}  // namespace pydl::kernels::PYDL_ISA
