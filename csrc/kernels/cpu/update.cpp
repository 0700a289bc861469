// The solver's update passes (update.h).
#include "kernels/update.h"

#include "kernels/cpu/map.h"

namespace pydl::kernels::PYDL_ISA {

extern const UpdateKernels update;

namespace {

PYDL_INLINE Vec sign(Vec w) {
  const Vec one = broadcast(1.0f);
  return select(w > 0.0f, one, Vec{}) - select(w < 0.0f, one, Vec{});
}

template <bool kL1>
void sgd_pass(const UpdateShape& s, float* w, float* g, float* h) {
  const float grad_scale = s.grad_scale, decay = s.weight_decay, rate = s.rate;
  const float momentum = s.momentum;
  parallel_for_vectors(s.n, kGrain, [=](int64_t i, int64_t n) {
    const Vec weight = load_some(w + i, n);
    const Vec gradient = grad_scale * load_some(g + i, n) + decay * (kL1 ? sign(weight) : weight);
    const Vec step = momentum * load_some(h + i, n) + rate * gradient;
    store_some(w + i, weight - step, n);
    store_some(g + i, step, n);
    store_some(h + i, step, n);
  });
}

void sgd(const UpdateShape& s, float* w, float* g, float* h) {
  s.l1 ? sgd_pass<true>(s, w, g, h) : sgd_pass<false>(s, w, g, h);
}

}  // namespace

const UpdateKernels update = {sgd};

}  // namespace pydl::kernels::PYDL_ISA
