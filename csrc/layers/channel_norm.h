// Normalisation by a mean and a variance per channel, followed by a factor and a bias per channel:
// what the kinds of batch normalisation have in common.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/eltwise.h"
#include "kernels/norm.h"

namespace pydl {

class ChannelNorm {
 public:
  // Null: 1 and 0.
  struct Affine {
    const float *scale, *bias;
  };
  // Where gradients of the factors and biases are added. Null: not wanted.
  struct Gradients {
    float *scale, *bias;
  };

  std::vector<float> mean, variance, inv_std;

  void resize(int64_t channels) {
    for (auto* values : {&mean, &variance, &inv_std}) values->resize(static_cast<size_t>(channels));
    ones_.assign(static_cast<size_t>(channels), 1);
    zeros_.assign(static_cast<size_t>(channels), 0);
  }
  void measure(const kernels::NormShape& s, ConstArray x) {
    kernels::norm_kernels().statistics(s, x, mean.data(), variance.data());
  }
  void set_eps(float eps) {
    for (size_t c = 0; c < variance.size(); ++c) inv_std[c] = 1 / std::sqrt(variance[c] + eps);
  }

  void forward(const kernels::NormShape& s, ConstArray x, Affine affine, ConstArray residual,
               bool relu, Array y) const {
    kernels::norm_kernels().forward_fused(s, x, mean.data(), inv_std.data(), scale(affine),
                                          bias(affine), residual, relu, y);
  }
  // Where mean and variance are the batch's; y: as for backward_fused.
  void backward(const kernels::NormShape& s, ConstArray x, Affine affine, bool relu, ConstArray y,
                ConstArray dy, Gradients to, Array dx, Array dresidual) const {
    std::vector<float> unused(2 * mean.size());
    kernels::norm_kernels().backward_fused(
        s, x, mean.data(), inv_std.data(), scale(affine), bias(affine), relu, y, dy,
        to.scale ? to.scale : unused.data(), to.bias ? to.bias : unused.data() + mean.size(), dx,
        dresidual);
  }
  // Where they do not depend on x. dx may be null.
  void backward_fixed(const kernels::NormShape& s, ConstArray x, Affine affine, ConstArray dy,
                      Gradients to, Array dx) const {
    const auto& eltwise = kernels::eltwise_kernels();
    if (to.scale || to.bias) {
      std::vector<float> product(mean.size()), sum(mean.size());
      eltwise.affine_backward_params(s.outer, s.channels, s.inner, x, dy, product.data(),
                                     sum.data());
      for (size_t c = 0; c < mean.size(); ++c) {
        if (to.scale) to.scale[c] += inv_std[c] * (product[c] - mean[c] * sum[c]);
        if (to.bias) to.bias[c] += sum[c];
      }
    }
    if (!dx) return;
    std::vector<float> factor(inv_std);
    for (size_t c = 0; c < factor.size(); ++c) factor[c] *= scale(affine)[c];
    eltwise.affine_forward(s.outer, s.channels, s.inner, dy, factor.data(), nullptr, dx);
  }

  // As ChannelAffine's.
  void compose(Affine affine, float* a, float* b) const {
    for (size_t c = 0; c < mean.size(); ++c) {
      const float factor = scale(affine)[c] * inv_std[c];
      a[c] *= factor;
      b[c] = (b[c] - mean[c]) * factor + bias(affine)[c];
    }
  }

 private:
  const float* scale(Affine affine) const { return affine.scale ? affine.scale : ones_.data(); }
  const float* bias(Affine affine) const { return affine.bias ? affine.bias : zeros_.data(); }

  std::vector<float> ones_, zeros_;
};

}  // namespace pydl
