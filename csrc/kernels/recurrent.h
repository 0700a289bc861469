// Recurrences: what each step of a layer needs of the step before it. What needs the inputs alone,
// x W_x^T + b of all steps and the gradients of x and of the weights, is a matrix product of the
// whole sequence (gemm.h).
//
//   gates: (T, N, G H), rows gate_stride floats apart; GRU: (T, N, 4 H)
//   w: (G H, H), recurrent
//   h, c: (T, N, H)   h[-1], c[-1]: (N, H)   cont: (T, N), 0 where a sequence begins and else 1
//
//   past[t] = cont[t] h[t-1]
//   gates[t] += past[t] w^T
//
// RNN (Elman 1990): one gate, G = 1.
//
//   h[t] = tanh(gates[t])
//
// LSTM (Hochreiter & Schmidhuber 1997), as Caffe computes it: G = 4, the gates i, f, o, g in this
// order.
//
//   i, f, o = sigmoid,  g = tanh;  f is then multiplied by cont[t]
//   c[t] = f c[t-1] + i g
//   h[t] = o tanh(c[t])
//
// GRU (Cho et al. 2014, arXiv:1406.1078), as PyTorch computes it: G = 3, the gates r, z, n in this
// order, and behind them in each row of gates the recurrent part of n, u = w_n past[t] + b_n, by
// itself, with a bias b (3 H) of the recurrent products.
//
//   r, z = sigmoid(gates[t] + b),  n = tanh(gates[t] + r u)
//   h[t] = (1 - z) n + z cont[t] h[t-1]
//
// `reverse` runs from the last step to the first: t - 1 is then the step behind t, and cont[t] is 0
// where a sequence begins that runs this way.
//
// The products are of float32 or of bfloat16: past, h, dh and dgates are then of that type, and the
// weights are rounded to it. Sums, gates and cells are float32.
#pragma once

#include <cstdint>

#include "pydl/array.h"

namespace pydl::kernels {

struct RecurrentShape {
  int64_t steps, batch, hidden;  // T, N, H
  int64_t gates;                 // G
  int64_t gate_stride;           // at least G H; of a GRU at least 4 H
  bool reverse = false;

  // Where the arrays (T, N, ...) have sequence 0 of the i-th step that is taken.
  [[gnu::always_inline]] int64_t row(int64_t i) const {
    return (reverse ? steps - 1 - i : i) * batch;
  }
};

// A stride that spreads the same gate of successive rows over the sets of a cache: as far apart as
// a power of two, more than a few rows would not fit in.
constexpr int64_t gate_stride(int64_t gates, int64_t hidden) {
  return gates * hidden + (hidden % 64 == 0 ? 16 : 0);
}

struct RecurrentKernels {
  // The recurrent weights are packed once for each direction, in packed_size() floats, for products
  // of `dtype`.
  int64_t (*packed_size)(const RecurrentShape&, DType dtype);
  void (*pack_forward)(const RecurrentShape&, const float* w, DType dtype, float* packed);
  void (*pack_backward)(const RecurrentShape&, const float* w, DType dtype, float* packed);

  // gates: x W_x^T + b before, the activations after. h0 = h[-1], c0 = c[-1].
  void (*rnn_forward)(const RecurrentShape&, const float* packed, const float* cont,
                      const float* h0, float* gates, Array past, Array h);
  void (*lstm_forward)(const RecurrentShape&, const float* packed, const float* cont,
                       const float* h0, const float* c0, float* gates, Array past, float* c,
                       Array h);
  // b: that of the recurrent products. state (N, H): h after the last step, float32 whatever the
  // type of h, as it is carried from step to step; it may be h0.
  void (*gru_forward)(const RecurrentShape&, const float* packed, const float* cont, const float* b,
                      const float* h0, float* gates, Array past, float* state, Array h);
  // From the gradient of h: dgates, the gradient of the gates before their activation, and its sum
  // over the steps, (N, G H), before dgates is rounded, of which those of the bias and of inputs
  // that are the same at every step are made. gates, c0 and c are those of the forward pass. As in
  // Caffe, h[T-1] and c[T-1] have no other gradient.
  void (*rnn_backward)(const RecurrentShape&, const float* packed, const float* cont,
                       const float* gates, ConstArray dh, Array dgates, float* sum);
  void (*lstm_backward)(const RecurrentShape&, const float* packed, const float* cont,
                        const float* c0, const float* gates, const float* c, ConstArray dh,
                        Array dgates, float* sum);
  // dgates has the gradient of u where gates has u; sum_u (N, H) is its sum.
  void (*gru_backward)(const RecurrentShape&, const float* packed, const float* cont,
                       const float* gates, ConstArray past, ConstArray dh, Array dgates, float* sum,
                       float* sum_u);

  // One step of an LSTM by itself, of complete gates (N, 4 H) before their activation.
  void (*lstm_unit_forward)(int64_t batch, int64_t hidden, const float* cont, const float* c0,
                            const float* gates, float* c, float* h);
  // Either of dc0 and dgates may be null.
  void (*lstm_unit_backward)(int64_t batch, int64_t hidden, const float* cont, const float* c0,
                             const float* gates, const float* dc, const float* dh, float* dc0,
                             float* dgates);
};

const RecurrentKernels& recurrent_kernels();

}  // namespace pydl::kernels
