// Negative sampling (negative_sampling.h). Rows of w are met in no order, so each is asked for a
// few samples before it is needed.
#include "kernels/negative_sampling.h"

#include "kernels/cpu/channels.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/philox.h"

namespace pydl::kernels::PYDL_ISA {

extern const NegativeSamplingKernels negative_sampling;

namespace {

constexpr int64_t kAhead = 4;  // samples

// kLanes draws at a time, which take the two vectors of words that philox() gives.
void draw(int64_t n, int64_t words, const float* keep, const int32_t* alias, uint64_t seed,
          uint64_t stream, int32_t* ids) {
  parallel_for(ceil_div(n, kLanes), kMathGrain / kLanes, [=](int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      VecI bits[2];
      philox(seed, stream, static_cast<uint64_t>(step * kLanes / 2), bits);
      uint32_t word[2 * kLanes];
      __builtin_memcpy(word, bits, sizeof word);
      for (int64_t i = 0; i < smaller(kLanes, n - step * kLanes); ++i) {
        const uint64_t column = static_cast<uint64_t>(words) * word[2 * i] >> 32;
        const float u = static_cast<float>(word[2 * i + 1] >> 8) * 0x1p-24f;
        ids[step * kLanes + i] = u < keep[column] ? static_cast<int32_t>(column) : alias[column];
      }
    }
  });
}

PYDL_INLINE void prefetch_row(const SampledShape& s, const float* w, const int32_t* ids,
                              int64_t i) {
  const int32_t id = i < s.rows * s.samples ? ids[i] : -1;
  if (id < 0) return;
  const float* row = w + id * s.size;
  for (int64_t k = 0; k < s.size; k += 16) __builtin_prefetch(row + k);
}

PYDL_INLINE float dot(int64_t n, const float* a, const float* b) {
  Vec sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    sums[0] += load(a + i) * load(b + i);
    sums[1] += load(a + i + kLanes) * load(b + i + kLanes);
  }
  for_each_vector(i, n, [&](int64_t k, int64_t lanes) {
    sums[0] += load_some(a + k, lanes) * load_some(b + k, lanes);
  });
  return sum(sums[0] + sums[1]);
}

// The score of the wrong answer; far below 0 where there is no sample.
PYDL_INLINE float wrong_score(const SampledShape& s, const float* x, const float* w,
                              const float* bias, const float* offset, int32_t id, bool is_target) {
  if (id < 0) return -1e30f;
  float score = dot(s.size, x, w + id * s.size);
  if (bias) score += bias[id];
  if (offset) score += offset[id];
  return is_target ? -score : score;
}

double forward(const SampledShape& s, const float* x, const float* w, const float* bias,
               const float* offset, const int32_t* ids, float* wrong) {
  parallel_for(s.rows, items_worth(kGrain, s.samples * s.size), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t first = r * s.samples;
      for (int64_t i = first; i < first + s.samples; ++i) {
        prefetch_row(s, w, ids, i + kAhead);
        wrong[i] = wrong_score(s, x + r * s.size, w, bias, offset, ids[i], i == first);
      }
    }
  });
  double loss[1] = {0};
  // log(1 + exp(s)) = max(s, 0) + log(1 + exp(-|s|))
  const auto softplus = [](const Vec* v, const Vec*, Vec* sum) {
    const Vec e = exp(-abs(v[0]));
    sum[0] += relu(v[0]) + log1p_of_unit(e);
    return select(v[0] < 0.0f, e, broadcast(1.0f)) / (e + 1.0f);
  };
  const float* scores = wrong;
  sum_plain<1>({1, 1, s.rows * s.samples}, pointers(scores), Pointers<0>{}, softplus, loss, wrong);
  return loss[0];
}

PYDL_INLINE float slope(float wrong, bool is_target, float scale) {
  return is_target ? -scale * wrong : scale * wrong;
}

void backward_x(const SampledShape& s, const float* w, const int32_t* ids, const float* wrong,
                float scale, float* dx) {
  parallel_for(s.rows, items_worth(kGrain, s.samples * s.size), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t first = r * s.samples;
      float* to = dx + r * s.size;
      for (int64_t k = 0; k < s.size; ++k) to[k] = 0;
      for (int64_t i = first; i < first + s.samples; ++i) {
        prefetch_row(s, w, ids, i + kAhead);
        if (ids[i] < 0) continue;
        const float* row = w + ids[i] * s.size;
        const float ds = slope(wrong[i], i == first, scale);
        for_each_vector(0, s.size, [=](int64_t k, int64_t lanes) {
          store_some(to + k, load_some(to + k, lanes) + ds * load_some(row + k, lanes), lanes);
        });
      }
    }
  });
}

void add_bias(const SampledShape& s, const int32_t* ids, const float* wrong, float scale,
              float* db) {
  for (int64_t i = 0; i < s.rows * s.samples; ++i) {
    if (ids[i] >= 0) db[ids[i]] += slope(wrong[i], i % s.samples == 0, scale);
  }
}

// Each thread has columns of its own, as in embed.cpp.
void backward_w(const SampledShape& s, const float* x, const int32_t* ids, const float* wrong,
                float scale, float* dw, float* db) {
  if (db) add_bias(s, ids, wrong, scale, db);
  if (!dw) return;
  const int64_t vectors = ceil_div(s.size, kLanes), count = s.rows * s.samples;
  parallel_for(vectors, items_worth(kGrain, count * kLanes), [=](int64_t begin, int64_t end) {
    const int64_t first = begin * kLanes, last = smaller(end * kLanes, s.size);
    for (int64_t i = 0; i < count; ++i) {
      prefetch_row(s, dw, ids, i + kAhead);
      if (ids[i] < 0) continue;
      const float* from = x + i / s.samples * s.size;
      float* row = dw + ids[i] * s.size;
      const float ds = slope(wrong[i], i % s.samples == 0, scale);
      for_each_vector(first, last, [=](int64_t k, int64_t lanes) {
        store_some(row + k, load_some(row + k, lanes) + ds * load_some(from + k, lanes), lanes);
      });
    }
  });
}

}  // namespace

const NegativeSamplingKernels negative_sampling = {draw, forward, backward_x, backward_w};

}  // namespace pydl::kernels::PYDL_ISA
