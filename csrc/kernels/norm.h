// Batch normalisation (Ioffe & Szegedy 2015) over (outer, channels, inner), and that of rows.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct NormShape {
  int64_t outer, channels, inner;  // statistics per channel over outer * inner values
};

struct NormKernels {
  // mean and biased variance per channel, accumulated in float blocks or double.
  void (*statistics)(const NormShape&, ConstArray x, float* mean, float* variance);
  // y = (x - mean) * inv_std per channel. y may be x.
  void (*normalize)(const NormShape&, ConstArray x, const float* mean, const float* inv_std,
                    Array y);
  // dx for batch statistics: inv_std (dy - mean(dy) - y mean(dy y)); y: the normalised values.
  // dx may be dy.
  void (*backward)(const NormShape&, ConstArray y, const float* inv_std, ConstArray dy, Array dx);

  // Normalisation, scale and bias, the sum with a residual (may be null) and ReLU, in one pass:
  // y = relu(scale xhat + bias + residual), xhat = (x - mean) inv_std. The residual is added to
  // what scale and bias give, rounded as if it were written. y may be x or residual.
  void (*forward_fused)(const NormShape&, ConstArray x, const float* mean, const float* inv_std,
                        const float* scale, const float* bias, ConstArray residual, bool relu,
                        Array y);
  // Its gradient for batch statistics, from the x that forward_fused was given. With relu the
  // gradient is g = dy where the output was > 0, else 0: by y, which may be null, then by x, where
  // there was no residual; without relu g = dy.
  // dscale += sum g xhat, dbias += sum g, dresidual = g (may be null),
  // dx = scale inv_std (g - mean(g) - xhat mean(g xhat)). One of dx and dresidual may be dy.
  void (*backward_fused)(const NormShape&, ConstArray x, const float* mean, const float* inv_std,
                         const float* scale, const float* bias, bool relu, ConstArray y,
                         ConstArray dy, float* dscale, float* dbias, Array dx, Array dresidual);

  // y = (x - mean) scale for each row of (rows, n). scale: 1 / (standard deviation + eps), biased,
  // is written, or without `variance` 1. y may be x.
  void (*normalize_rows)(int64_t rows, int64_t n, bool variance, float eps, ConstArray x,
                         float* scale, Array y);
  // dx = scale (dy - mean(dy) - y mean(dy y)), without `variance` dy - mean(dy). dx may be dy.
  void (*rows_backward)(int64_t rows, int64_t n, bool variance, ConstArray y, const float* scale,
                        ConstArray dy, Array dx);
};

const NormKernels& norm_kernels();

}  // namespace pydl::kernels
