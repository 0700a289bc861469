#include "layers/pooler.h"

#include <algorithm>

#include "core/random.h"
#include "kernels/parallel.h"

namespace pydl {

using kernels::PoolShape;

namespace {

const float* floats(ConstArray a) { return static_cast<const float*>(a.data); }
float* floats(Array a) { return static_cast<float*>(a.data); }

// From [0, 1), 24 bits each.
void fill_random(const Pooler::Draw& draw, std::vector<float>* to) {
  const auto count = static_cast<int64_t>(to->size());
  kernels::parallel_for((count + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const PhiloxBlock bits = philox(draw.seed, draw.stream, static_cast<uint64_t>(block));
      for (int64_t i = 4 * block; i < std::min(4 * block + 4, count); ++i) {
        (*to)[i] = static_cast<float>(bits[i % 4] >> 8) * 0x1p-24f;
      }
    }
  });
}

}  // namespace

void Pooler::forward(PoolMethod method, const PoolShape& s, ConstArray x, Array y, const Draw* draw,
                     bool remember) {
  const auto& pool = kernels::pool_kernels();
  by_value_ = method == PoolMethod::kStochastic && !draw;
  if (method == PoolMethod::kAve) return pool.ave_forward(s, x, y);
  if (by_value_) return pool.expect_forward(s, floats(x), floats(y));
  if (!remember && method == PoolMethod::kMax) return pool.max_forward(s, x, y, nullptr);
  mask_.resize(s.n * s.c * s.out_count() * (kernels::pool_mask_is_small(s) ? 1 : sizeof(int32_t)));
  if (method == PoolMethod::kMax) return pool.max_forward(s, x, y, mask_.data());
  std::vector<float> random(s.n * s.c * s.out_count());
  fill_random(*draw, &random);
  pool.sample_forward(s, floats(x), random.data(), floats(y), mask_.data());
}

void Pooler::backward(PoolMethod method, const PoolShape& s, ConstArray x, ConstArray y,
                      ConstArray dy, Array dx) const {
  const auto& pool = kernels::pool_kernels();
  if (method == PoolMethod::kAve) return pool.ave_backward(s, dy, dx);
  if (!by_value_) return pool.max_backward(s, dy, mask_.data(), dx);
  pool.expect_backward(s, floats(x), floats(y), floats(dy), floats(dx));
}

void Pooler::indices(const PoolShape& s, float* to) const {
  // offset[position in a window]: from the window's first element, in the plane.
  std::vector<int64_t> offset;
  for (int64_t d = 0; d < s.d.kernel; ++d) {
    for (int64_t h = 0; h < s.h.kernel; ++h) {
      for (int64_t w = 0; w < s.w.kernel; ++w) offset.push_back((d * s.h.in + h) * s.w.in + w);
    }
  }
  const auto first = [](const kernels::PoolAxis& a, int64_t o) { return o * a.stride - a.pad; };
  const int64_t out = s.out_count(), run = s.channels_last ? s.c : 1;  // values of one window
  kernels::with_mask(s, mask_.data(), [&](const auto* mask) {
    using Position = std::decay_t<decltype(*mask)>;
    kernels::parallel_for(s.n * s.c * out / run, 16384 / run + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t ow = i % s.w.out, oh = i / s.w.out % s.h.out;
        const int64_t od = i % out / (s.w.out * s.h.out);
        const int64_t window = (first(s.d, od) * s.h.in + first(s.h, oh)) * s.w.in + first(s.w, ow);
        for (int64_t j = i * run; j < (i + 1) * run; ++j) {
          const bool none = mask[j] == static_cast<Position>(kernels::kNoMaximum);
          to[j] = none ? -1 : static_cast<float>(window + offset[mask[j]]);
        }
      }
    });
  });
}

}  // namespace pydl
