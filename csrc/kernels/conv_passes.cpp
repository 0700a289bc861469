#include "kernels/conv_passes.h"

#include <array>
#include <numeric>

namespace pydl::kernels {
namespace {

// One spatial axis of a convolution; missing axes are of size 1.
struct Axis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0, dilation = 1;
  int64_t kernel_step = 1;  // between its positions in the plain weights
};
using Axes = std::array<Axis, 3>;

Axes axes_of(const ConvShape& s) {
  Axes axes;
  const std::vector<int64_t> out = s.out();
  const size_t skipped = axes.size() - s.in.size();
  int64_t step = 1;
  for (size_t i = s.in.size(); i-- > 0;) {
    axes[skipped + i] = {s.in[i], out[i], s.kernel[i], s.stride[i], s.pad[i], s.dilation[i], step};
    step *= s.kernel[i];
  }
  return axes;
}

int64_t floor_mod(int64_t a, int64_t b) { return (a % b + b) % b; }

// Input position stride i + phase gets, through kernel position k, the gradient of output
// i + (phase + pad - k dilation) / stride, for those k for which that is whole. They are equally
// far apart; in the order of rising outputs the last k comes first.
void set_phase(const Axis& a, int64_t phase, CorrelationAxis* axis, int64_t* first_weight,
               int64_t* weight_step) {
  const int64_t common = std::gcd(a.stride, a.dilation), step = a.stride / common;
  int64_t taps = 0, last = 0;
  for (int64_t k = 0; k < a.kernel; ++k) {
    if (floor_mod(phase + a.pad - k * a.dilation, a.stride) != 0) continue;
    last = k;
    ++taps;
  }
  const int64_t count = phase < a.in ? (a.in - 1 - phase) / a.stride + 1 : 0;
  const int64_t first = taps ? (phase + a.pad - last * a.dilation) / a.stride : 0;
  *axis = {a.out, a.in, count, phase, a.stride, first, 1, taps, a.dilation / common};
  *first_weight += last * a.kernel_step;
  *weight_step = -step * a.kernel_step;
}

}  // namespace

Pass forward_pass(const ConvShape& s) {
  const Axes axes = axes_of(s);
  const int64_t icg = s.ic / s.group, ocg = s.oc / s.group, kernels = s.kernel_count();
  Pass p{{s.n, s.group, icg, ocg, {}}, {0, ocg * icg * kernels, icg * kernels, kernels, {}}};
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& a = axes[i];
    p.shape.axis[i] = {a.in, a.out, a.out, 0, 1, -a.pad, a.stride, a.kernel, a.dilation};
    p.weights.tap[i] = a.kernel_step;
  }
  return p;
}

std::vector<Pass> backward_passes(const ConvShape& s) {
  const Axes axes = axes_of(s);
  const int64_t icg = s.ic / s.group, ocg = s.oc / s.group, kernels = s.kernel_count();
  std::vector<Pass> passes;
  const int64_t phases = axes[0].stride * axes[1].stride * axes[2].stride;
  for (int64_t i = 0; i < phases; ++i) {
    Pass p{{s.n, s.group, ocg, icg, {}}, {0, ocg * icg * kernels, kernels, icg * kernels, {}}};
    int64_t rest = i;
    for (size_t a = axes.size(); a-- > 0;) {
      set_phase(axes[a], rest % axes[a].stride, &p.shape.axis[a], &p.weights.first,
                &p.weights.tap[a]);
      rest /= axes[a].stride;
    }
    passes.push_back(p);
  }
  return passes;
}

}  // namespace pydl::kernels
