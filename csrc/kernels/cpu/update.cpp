// The solver's update passes (update.h).

#include "kernels/update.h"

#include "kernels/cpu/channels.h"
#include "kernels/cpu/math.h"

namespace pydl::kernels::PYDL_ISA {

extern const UpdateKernels update;

namespace {

PYDL_INLINE Vec sign(Vec w) {
  const Vec one = broadcast(1.0f);
  return select(w > 0.0f, one, Vec{}) - select(w < 0.0f, one, Vec{});
}

// rule(i, n, g', decay(w)) is the step of parameters i to i + n - 1. kPlain: no L1, no clipping.
template <bool kPlain, class Rule>
PYDL_INLINE void update_span(const UpdateShape& s, float* w, float* g, const Rule& rule) {
  const float grad_scale = s.grad_scale, weight_decay = s.weight_decay, l1 = s.l1, clip = s.clip;
  parallel_for_vectors(s.n, kGrain, [=](int64_t i, int64_t n) {
    const Vec weight = load_some(w + i, n);
    const Vec decay = kPlain ? weight : l1 * sign(weight) + (1 - l1) * weight;
    Vec gradient = grad_scale * load_some(g + i, n);
    if (!kPlain) gradient = clamp(gradient, -clip, clip);
    const Vec step = rule(i, n, gradient + weight_decay * decay, decay);
    store_some(w + i, weight - step, n);
    store_some(g + i, step, n);
  });
}

template <class Rule>
PYDL_INLINE void update_all(const UpdateShape& s, float* w, float* g, const Rule& rule) {
  const bool plain = s.l1 == 0 && s.clip == kInfinity;
  plain ? update_span<true>(s, w, g, rule) : update_span<false>(s, w, g, rule);
}

void sgd(const UpdateShape& s, float* w, float* g, float* h) {
  const float rate = s.rate, momentum = s.momentum;
  update_all(s, w, g, [=](int64_t i, int64_t n, Vec gradient, Vec) {
    const Vec step = momentum * load_some(h + i, n) + rate * gradient;
    store_some(h + i, step, n);
    return step;
  });
}

void nesterov(const UpdateShape& s, float* w, float* g, float* h) {
  const float rate = s.rate, momentum = s.momentum;
  update_all(s, w, g, [=](int64_t i, int64_t n, Vec gradient, Vec) {
    const Vec before = load_some(h + i, n), after = momentum * before + rate * gradient;
    store_some(h + i, after, n);
    return (1 + momentum) * after - momentum * before;
  });
}

void adagrad(const UpdateShape& s, float* w, float* g, float* h) {
  const float rate = s.rate, delta = s.delta;
  update_all(s, w, g, [=](int64_t i, int64_t n, Vec gradient, Vec) {
    const Vec sum = load_some(h + i, n) + gradient * gradient;
    store_some(h + i, sum, n);
    return rate * gradient / (sqrt(sum) + delta);
  });
}

// h = keep h + (1 - keep) x
PYDL_INLINE Vec blend(float* h, int64_t n, float keep, Vec x) {
  const Vec mean = keep * load_some(h, n) + (1 - keep) * x;
  store_some(h, mean, n);
  return mean;
}

void rmsprop(const UpdateShape& s, float* w, float* g, float* h) {
  const float rate = s.rate, keep = s.momentum2, delta = s.delta;
  update_all(s, w, g, [=](int64_t i, int64_t n, Vec gradient, Vec) {
    const Vec square = blend(h + i, n, keep, gradient * gradient);
    return rate * gradient / (sqrt(square) + delta);
  });
}

void adadelta(const UpdateShape& s, float* w, float* g, float* h1, float* h2) {
  const float rate = s.rate, keep = s.momentum, delta = s.delta;
  update_all(s, w, g, [=](int64_t i, int64_t n, Vec gradient, Vec) {
    const Vec square = blend(h1 + i, n, keep, gradient * gradient);
    const Vec u = gradient * sqrt((load_some(h2 + i, n) + delta) / (square + delta));
    blend(h2 + i, n, keep, u * u);
    return rate * u;
  });
}

void adam(const UpdateShape& s, float* w, float* g, float* h1, float* h2) {
  const float rate = s.rate, keep = s.momentum, keep2 = s.momentum2, delta = s.delta;
  const float decoupled = s.decoupled_decay;
  update_all(s, w, g, [=](int64_t i, int64_t n, Vec gradient, Vec decay) {
    const Vec mean = blend(h1 + i, n, keep, gradient);
    const Vec square = blend(h2 + i, n, keep2, gradient * gradient);
    return rate * mean / (sqrt(square) + delta) + decoupled * decay;
  });
}

void average(int64_t n, float rate, const float* w, float* average) {
  map(
      n, kGrain, average, [=](Vec weight, Vec mean) { return mean + rate * (weight - mean); }, w,
      static_cast<const float*>(average));
}

void limit_norms(int64_t rows, int64_t size, float most, float* w) {
  parallel_for(rows, items_worth(kGrain, size), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = w + r * size;
      double square[1] = {0};
      const auto add = [](const Vec* v, const Vec*, Vec* sum) { sum[0] += v[0] * v[0]; };
      sum_run<1>(size, pointers(static_cast<const float*>(row)), 0, Vectors<0>{}, add, square);
      const double norm = __builtin_sqrt(square[0]);
      if (!(norm > most)) continue;
      const auto scale = static_cast<float>(most / norm);
      for_each_vector(0, size, [=](int64_t i, int64_t n) {
        store_some(row + i, scale * load_some(row + i, n), n);
      });
    }
  });
}

}  // namespace

const UpdateKernels update = {sgd,      nesterov, adagrad, rmsprop,
                              adadelta, adam,     average, limit_norms};

}  // namespace pydl::kernels::PYDL_ISA
