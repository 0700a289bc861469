// The definition of the update passes (update.h): one parameter at a time, in double.
#include "kernels/update.h"

namespace pydl::kernels::ref {

extern const UpdateKernels update;

namespace {

double sign(float w) { return (w > 0) - (w < 0); }

void sgd(const UpdateShape& s, float* w, float* g, float* h) {
  for (int64_t i = 0; i < s.n; ++i) {
    const double decay = s.weight_decay * (s.l1 ? sign(w[i]) : w[i]);
    const double gradient = static_cast<double>(s.grad_scale) * g[i] + decay;
    h[i] = static_cast<float>(static_cast<double>(s.momentum) * h[i] + s.rate * gradient);
    w[i] -= h[i];
    g[i] = h[i];
  }
}

}  // namespace

const UpdateKernels update = {sgd};

}  // namespace pydl::kernels::ref
