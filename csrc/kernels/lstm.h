// The recurrence of an LSTM (Hochreiter & Schmidhuber 1997), as Caffe computes it: what a step
// needs of the step before. What needs the inputs alone, x W_x^T + b of all steps and the gradients
// of x and of the weights, is a matrix product of the whole sequence (gemm.h).
//
//   gates: (T, N, 4 H), rows gate_stride floats apart, the gates i, f, o, g in this order
//   w: (4 H, H), recurrent
//   h, c: (T, N, H)   h[-1], c[-1]: (N, H)   cont: (T, N), 0 where a sequence begins and else 1
//
//   past[t] = cont[t] h[t-1]
//   gates[t] += past[t] w^T
//   i, f, o = sigmoid,  g = tanh;  f is then multiplied by cont[t]
//   c[t] = f c[t-1] + i g
//   h[t] = o tanh(c[t])
//
// The products are of float32 or of bfloat16: past, h, dh and dgates are then of that type, and the
// weights are rounded to it. Sums, gates and cells are float32.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct LstmShape {
  int64_t steps, batch, hidden;  // T, N, H
  int64_t gate_stride;           // at least 4 H
};

// A stride that spreads the same gate of successive rows over the sets of a cache: as far apart as
// a power of two, more than a few rows would not fit in.
constexpr int64_t lstm_gate_stride(int64_t hidden) {
  return 4 * hidden + (hidden % 64 == 0 ? 16 : 0);
}

struct LstmKernels {
  // The recurrent weights are packed once for each direction, in packed_size() floats, for products
  // of `dtype`.
  int64_t (*packed_size)(const LstmShape&, DType dtype);
  void (*pack_forward)(const LstmShape&, const float* w, DType dtype, float* packed);
  void (*pack_backward)(const LstmShape&, const float* w, DType dtype, float* packed);
  // gates: x W_x^T + b before, the activations after. h0 = h[-1], c0 = c[-1].
  void (*forward)(const LstmShape&, const float* packed, const float* cont, const float* h0,
                  const float* c0, float* gates, Array past, float* c, Array h);
  // From the gradient of h: dgates, the gradient of the gates before their activation, and its sum
  // over the steps, (N, 4 H), before dgates is rounded, of which those of the bias and of inputs
  // that are the same at every step are made. c0, gates and c are those of the forward pass. As in
  // Caffe, h[T-1] and c[T-1] have no other gradient.
  void (*backward)(const LstmShape&, const float* packed, const float* cont, const float* c0,
                   const float* gates, const float* c, ConstArray dh, Array dgates, float* sum);
};

const LstmKernels& lstm_kernels();

}  // namespace pydl::kernels
