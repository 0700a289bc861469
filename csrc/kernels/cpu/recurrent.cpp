// Recurrences (recurrent.h): the cells, and single steps. The products are in recurrent_steps.h.
#include "kernels/recurrent.h"

#include <cstring>

#include "kernels/cpu/math.h"
#include "kernels/cpu/recurrent_steps.h"
#include "kernels/scratch.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const RecurrentKernels recurrent;

namespace {

void clear(float* x, int64_t count) {
  std::memset(x, 0, static_cast<size_t>(count) * sizeof(float));
}

// ---- RNN ----

template <class T>
void rnn_forward(const RecurrentShape& s, const float* packed, const float* cont, const float* h0,
                 float* gates, T* past, T* h) {
  run_forward(s, packed, cont, h0, gates, past, [&](int64_t t, const Next<T>& next, Range own) {
    float* gates_t = gates + s.row(t) * s.gate_stride;
    T* h_t = h + s.row(t) * s.hidden;
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      float* gate = gates_t + n * s.gate_stride + cell;
      const int64_t at = n * s.hidden + cell;
      const Vec y = tanh(load_some(gate, lanes));
      store_some(gate, y, lanes);
      store_some(h_t + at, y, lanes);
      next.take(h_t, n, at, lanes);
    });
  });
}

template <class T>
void rnn_backward(const RecurrentShape& s, const float* packed, const float* cont,
                  const float* gates, const T* dh, T* dgates, float* sum) {
  const int64_t size = s.batch * s.hidden;
  if (s.steps == 0) clear(sum, size);
  const Scratch next_dh(size);
  run_backward(s, packed, cont, dgates, next_dh.data(),
               [&](int64_t t, const GivenBack& given_back, Range own) {
                 const int64_t gates_t = s.row(t) * s.gate_stride;
                 const T* dh_t = dh + s.row(t) * s.hidden;
                 for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
                   const int64_t at = n * s.hidden + cell;
                   const int64_t gate = gates_t + n * s.gate_stride + cell;
                   const Vec y = load_some(gates + gate, lanes);
                   const Vec dy = load_some(dh_t + at, lanes);
                   const Vec total = given_back.add_to(dy, n, at, lanes);
                   const Vec gradient = total * (1.0f - y * y);
                   store_some(dgates + gate, gradient, lanes);
                   add_up(!given_back.cont, gradient, lanes, sum + at);
                 });
               });
}

// ---- LSTM ----

constexpr int kGates = 4;

// The activations of cells' gates, from those before it; gates are H apart.
struct Gates {
  Vec i, f, o, g;

  PYDL_INLINE void activate(const float* before, int64_t hidden, float cont, int64_t lanes) {
    i = sigmoid(load_some(before, lanes));
    o = sigmoid(load_some(before + 2 * hidden, lanes));
    f = cont == 0 ? Vec{} : cont * sigmoid(load_some(before + hidden, lanes));
    g = tanh(load_some(before + 3 * hidden, lanes));
  }
  PYDL_INLINE void load_from(const float* after, int64_t hidden, int64_t lanes) {
    i = load_some(after, lanes);
    f = load_some(after + hidden, lanes);
    o = load_some(after + 2 * hidden, lanes);
    g = load_some(after + 3 * hidden, lanes);
  }
  PYDL_INLINE void store_to(float* after, int64_t hidden, int64_t lanes) const {
    store_some(after, i, lanes);
    store_some(after + hidden, f, lanes);
    store_some(after + 2 * hidden, o, lanes);
    store_some(after + 3 * hidden, g, lanes);
  }
};

// The gradients of the gates before their activation, in their order, and of c_before, from those
// of h and c.
struct CellGradient {
  Vec gates[kGates], c_before;

  PYDL_INLINE CellGradient(const Gates& a, Vec before, Vec c, Vec dh, Vec dc) {
    const Vec tanh_c = tanh(c);
    dc += dh * a.o * (1.0f - tanh_c * tanh_c);
    gates[0] = dc * a.g * a.i * (1.0f - a.i);
    gates[1] = dc * before * a.f * (1.0f - a.f);
    gates[2] = dh * tanh_c * a.o * (1.0f - a.o);
    gates[3] = dc * a.i * (1.0f - a.g * a.g);
    c_before = dc * a.f;
  }
};

template <class T>
void lstm_forward(const RecurrentShape& s, const float* packed, const float* cont, const float* h0,
                  const float* c0, float* gates, T* past, float* c, T* h) {
  run_forward(s, packed, cont, h0, gates, past, [&](int64_t t, const Next<T>& next, Range own) {
    float* gates_t = gates + s.row(t) * s.gate_stride;
    const float* cont_t = cont + s.row(t);
    const float* c_before = t == 0 ? c0 : c + s.row(t - 1) * s.hidden;
    float* c_t = c + s.row(t) * s.hidden;
    T* h_t = h + s.row(t) * s.hidden;
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      float* gate = gates_t + n * s.gate_stride + cell;
      const int64_t at = n * s.hidden + cell;
      Gates a;
      a.activate(gate, s.hidden, cont_t[n], lanes);
      const Vec value = a.f * load_some(c_before + at, lanes) + a.i * a.g;
      a.store_to(gate, s.hidden, lanes);
      store_some(c_t + at, value, lanes);
      store_some(h_t + at, a.o * tanh(value), lanes);
      next.take(h_t, n, at, lanes);
    });
  });
}

template <class T>
void lstm_backward(const RecurrentShape& s, const float* packed, const float* cont, const float* c0,
                   const float* gates, const float* c, const T* dh, T* dgates, float* sum) {
  const int64_t size = s.batch * s.hidden;
  if (s.steps == 0) clear(sum, kGates * size);
  const Scratch scratch(aligned_size(size) + size);
  // dc (N, H): what the next step gives back to c.
  float *dc = scratch.data(), *next_dh = dc + aligned_size(size);
  const auto own_cells = [&](int64_t t, const GivenBack& given_back, Range own) {
    const float* c_t = c + s.row(t) * s.hidden;
    const float* c_before = t == 0 ? c0 : c + s.row(t - 1) * s.hidden;
    const T* dh_t = dh + s.row(t) * s.hidden;
    const bool last = !given_back.cont;
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      const int64_t at = n * s.hidden + cell;
      const int64_t row = (s.row(t) + n) * s.gate_stride + cell;
      const float* gate = gates + row;
      // A thread's part of the next row begins elsewhere: the hardware would find it late.
      for (int which = 0; which < kGates; ++which) {
        __builtin_prefetch(gate + s.gate_stride + which * s.hidden);
      }
      __builtin_prefetch(dh_t + at + s.hidden);
      __builtin_prefetch(c_t + at + s.hidden);
      __builtin_prefetch(c_before + at + s.hidden);
      Gates a;
      a.load_from(gate, s.hidden, lanes);
      const Vec dh_total = given_back.add_to(load_some(dh_t + at, lanes), n, at, lanes);
      const CellGradient gradient(a, load_some(c_before + at, lanes), load_some(c_t + at, lanes),
                                  dh_total, last ? Vec{} : load_some(dc + at, lanes));
#pragma GCC unroll 4
      for (int which = 0; which < kGates; ++which) {
        store_some(dgates + row + which * s.hidden, gradient.gates[which], lanes);
        add_up(last, gradient.gates[which], lanes, sum + (n * kGates + which) * s.hidden + cell);
      }
      store_some(dc + at, gradient.c_before, lanes);
    });
  };
  run_backward(s, packed, cont, dgates, next_dh, own_cells);
}

// ---- GRU ----

// n's recurrent product has a column of its own.
struct GruPlaces {
  PYDL_INLINE Places operator()(int64_t gate) const {
    return gate < 2 ? Places{gate, true} : Places{3, false};
  }
};

// Those of r and z, then that of u, added to dh z.
struct GruProducts {
  template <class T>
  PYDL_INLINE void operator()(Runner<T>* runner, const RecurrentShape& s, const CellBlock& block,
                              const T* dgates, const float* panel, float* next_dh) const {
    multiply_panel(runner, s.batch, 2 * s.hidden, dgates, s.gate_stride, panel, 1, next_dh,
                   s.hidden, block.columns);
    multiply_panel(runner, s.batch, s.hidden, dgates + 3 * s.hidden, s.gate_stride,
                   panel + steps<T>(2 * s.hidden) * panel_width(block.columns), 1, next_dh,
                   s.hidden, block.columns);
  }
};

template <class T>
void gru_forward(const RecurrentShape& s, const float* packed, const float* cont, const float* b,
                 const float* h0, float* gates, T* past, float* state, T* h) {
  const auto own_cells = [&](int64_t t, const Next<T>& next, Range own) {
    float* gates_t = gates + s.row(t) * s.gate_stride;
    const float *cont_t = cont + s.row(t), *before = t == 0 ? h0 : state;
    T* h_t = h + s.row(t) * s.hidden;
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      float* gate = gates_t + n * s.gate_stride + cell;
      const float* bias = b + cell;
      const int64_t at = n * s.hidden + cell;
      const auto sum = [&](int64_t column, int64_t of_bias) {
        return load_some(gate + column * s.hidden, lanes) +
               load_some(bias + of_bias * s.hidden, lanes);
      };
      const Vec r = sigmoid(sum(0, 0)), z = sigmoid(sum(1, 1)), u = sum(3, 2);
      const Vec fresh = tanh(load_some(gate + 2 * s.hidden, lanes) + r * u);
      const Vec old = cont_t[n] == 0 ? Vec{} : cont_t[n] * load_some(before + at, lanes);
      const Vec value = fresh + z * (old - fresh);
      store_some(gate, r, lanes);
      store_some(gate + s.hidden, z, lanes);
      store_some(gate + 2 * s.hidden, fresh, lanes);
      store_some(gate + 3 * s.hidden, u, lanes);
      store_some(state + at, value, lanes);
      store_some(h_t + at, value, lanes);
      next.take(h_t, n, at, lanes);
    });
  };
  run_forward(s, packed, cont, h0, gates, past, own_cells, GruPlaces{});
}

template <class T>
void gru_backward(const RecurrentShape& s, const float* packed, const float* cont,
                  const float* gates, const T* past, const T* dh, T* dgates, float* sum,
                  float* sum_u) {
  const int64_t size = s.batch * s.hidden;
  if (s.steps == 0) clear(sum, s.gates * size), clear(sum_u, size);
  const Scratch scratch(size);
  float* next_dh = scratch.data();
  const auto own_cells = [&](int64_t t, const GivenBack& given_back, Range own) {
    const T *dh_t = dh + s.row(t) * s.hidden, *past_t = past + s.row(t) * s.hidden;
    const bool last = !given_back.cont;
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      const int64_t at = n * s.hidden + cell;
      const int64_t row = (s.row(t) + n) * s.gate_stride + cell;
      const float* gate = gates + row;
      // As in lstm_backward.
      for (int which = 0; which < 4; ++which) {
        __builtin_prefetch(gate + s.gate_stride + which * s.hidden);
      }
      __builtin_prefetch(dh_t + at + s.hidden);
      __builtin_prefetch(past_t + at + s.hidden);
      const Vec r = load_some(gate, lanes), z = load_some(gate + s.hidden, lanes);
      const Vec fresh = load_some(gate + 2 * s.hidden, lanes);
      const Vec u = load_some(gate + 3 * s.hidden, lanes);
      const Vec dh_total = given_back.add_to(load_some(dh_t + at, lanes), n, at, lanes);
      const Vec of_n = dh_total * (1.0f - z) * (1.0f - fresh * fresh);
      const Vec of_r = of_n * u * r * (1.0f - r), of_u = of_n * r;
      const Vec of_z = dh_total * (load_some(past_t + at, lanes) - fresh) * z * (1.0f - z);
      T* gradient = dgates + row;
      float* total = sum + n * s.gates * s.hidden + cell;
      store_some(gradient, of_r, lanes);
      store_some(gradient + s.hidden, of_z, lanes);
      store_some(gradient + 2 * s.hidden, of_n, lanes);
      store_some(gradient + 3 * s.hidden, of_u, lanes);
      add_up(last, of_r, lanes, total);
      add_up(last, of_z, lanes, total + s.hidden);
      add_up(last, of_n, lanes, total + 2 * s.hidden);
      add_up(last, of_u, lanes, sum_u + at);
      store_some(next_dh + at, dh_total * z, lanes);
    });
  };
  run_backward(s, packed, cont, dgates, next_dh, own_cells, GruProducts{});
}

// ---- one step of an LSTM ----

// body(n, at, gate, lanes): for each vector of cells, from element `at` of (N, H) and, of gate i,
// `gate` of (N, 4 H) on. One copy of the body does whole vectors and the rest.
template <class Body>
PYDL_INLINE void for_each_cell(int64_t batch, int64_t hidden, const Body& body) {
  parallel_for(batch, items_worth(kMathGrain / 4, hidden), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t cell = 0; cell < hidden; cell += kLanes) {
        body(n, n * hidden + cell, n * kGates * hidden + cell, smaller(kLanes, hidden - cell));
      }
    }
  });
}

void lstm_unit_forward(int64_t batch, int64_t hidden, const float* cont, const float* c0,
                       const float* gates, float* c, float* h) {
  for_each_cell(batch, hidden, [=](int64_t n, int64_t at, int64_t gate, int64_t lanes) {
    Gates a;
    a.activate(gates + gate, hidden, cont[n], lanes);
    const Vec value = a.f * load_some(c0 + at, lanes) + a.i * a.g;
    store_some(c + at, value, lanes);
    store_some(h + at, a.o * tanh(value), lanes);
  });
}

void lstm_unit_backward(int64_t batch, int64_t hidden, const float* cont, const float* c0,
                        const float* gates, const float* dc, const float* dh, float* dc0,
                        float* dgates) {
  for_each_cell(batch, hidden, [=](int64_t n, int64_t at, int64_t gate, int64_t lanes) {
    Gates a;
    a.activate(gates + gate, hidden, cont[n], lanes);
    const Vec before = load_some(c0 + at, lanes);
    const CellGradient gradient(a, before, a.f * before + a.i * a.g, load_some(dh + at, lanes),
                                load_some(dc + at, lanes));
    if (dc0) store_some(dc0 + at, gradient.c_before, lanes);
    for (int which = 0; dgates && which < kGates; ++which) {
      store_some(dgates + gate + which * hidden, gradient.gates[which], lanes);
    }
  });
}

}  // namespace

const RecurrentKernels recurrent = {packed_size,
                                    pack_forward,
                                    pack_backward,
                                    PYDL_TYPED(rnn_forward),
                                    PYDL_TYPED(lstm_forward),
                                    PYDL_TYPED(gru_forward),
                                    PYDL_TYPED(rnn_backward),
                                    PYDL_TYPED(lstm_backward),
                                    PYDL_TYPED(gru_backward),
                                    lstm_unit_forward,
                                    lstm_unit_backward};

}  // namespace pydl::kernels::PYDL_ISA
