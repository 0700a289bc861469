// Scaled dot-product attention with heads (Vaswani et al. 2017, arXiv:1706.03762), in tiles with a
// running softmax (Dao et al. 2022, arXiv:2205.14135): no array grows with T_q T_k.
//
//   p = softmax over keys of scale q k^T    (N, H, T_q, T_k)
//   out = p v
//
// Head h of row (n, t) is D values from h D on. q, out: (N, T_q, H D)   k, v: (N, T_k, H D), rows
// any distance apart, so that they may be parts of one array. Gradients lie as their arrays do.
// Arrays are float32 or bfloat16, each by itself; products are float32.
//
// mask (N, T_k), null for none: keys where it is 0 do not take part. With `causal` query i sees the
// keys up to i + T_k - T_q: the last one sees all. A query that sees no key gives 0, and so are its
// gradients.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct AttentionShape {
  int64_t batch, heads, queries, keys, size;         // N, H, T_q, T_k, D
  int64_t q_stride, k_stride, v_stride, out_stride;  // elements between rows
  int64_t key_rows;  // of k and v, for each item of the batch: at least T_k
  bool causal;
  float scale;
};

struct AttentionKernels {
  // lse (N, H, T_q): the logarithm of each softmax's denominator, infinity where no key is seen.
  void (*forward)(const AttentionShape&, ConstArray q, ConstArray k, ConstArray v,
                  const float* mask, Array out, float* lse);
  // p is computed again, from lse. Each of dq, dk and dv may be null.
  void (*backward)(const AttentionShape&, ConstArray q, ConstArray k, ConstArray v,
                   const float* mask, ConstArray out, const float* lse, ConstArray dout, Array dq,
                   Array dk, Array dv);
  // p (N, H, T_q, T_k), to look at. out_stride and v_stride are not looked at.
  void (*weights)(const AttentionShape&, ConstArray q, ConstArray k, const float* mask,
                  const float* lse, float* p);
};

const AttentionKernels& attention_kernels();

}  // namespace pydl::kernels
