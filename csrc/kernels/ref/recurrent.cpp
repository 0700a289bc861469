// The definition of the recurrences in recurrent.h: plain loops, double accumulation. Weights are
// "packed" as they are, rounded.
#include "kernels/recurrent.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/array.h"
#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const RecurrentKernels recurrent;

namespace {

int64_t packed_size(const RecurrentShape& s, DType) { return s.gates * s.hidden * s.hidden; }

void pack(const RecurrentShape& s, const float* w, DType dtype, float* packed) {
  std::transform(w, w + packed_size(s, dtype), packed,
                 [=](float value) { return rounded(value, dtype); });
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The step's (N, H) arrays; the step before it of the first one is `first`.
const float* before(const RecurrentShape& s, int64_t step, const float* first, const float* all) {
  return step == 0 ? first : all + (step - 1) * s.batch * s.hidden;
}

// body(row, n, cont, gate): for each sequence n of each step, whose gates (G H) before their
// activation are `gate`.
template <class T, class Body>
void for_steps(const RecurrentShape& s, const float* w, const float* cont, const float* h0,
               float* gates, T* past, const T* h, const Body& body) {
  for (int64_t row = 0; row < s.steps * s.batch; ++row) {
    const int64_t n = row % s.batch, first = row * s.hidden;
    for (int64_t j = 0; j < s.hidden; ++j) {
      const bool starts = row < s.batch;
      const float h_before = starts ? h0[n * s.hidden + j] : h[first - s.batch * s.hidden + j];
      past[first + j] = cont[row] * h_before;
    }
    float* gate = gates + row * s.gate_stride;
    std::vector<double> sums(gate, gate + s.gates * s.hidden);
    for (int64_t j = 0; j < s.gates * s.hidden; ++j) {
      for (int64_t k = 0; k < s.hidden; ++k) {
        sums[j] += static_cast<double>(float{past[first + k]}) * w[j * s.hidden + k];
      }
    }
    body(row, n, cont[row], sums.data(), gate);
  }
}

// body(row, n, dh): for each sequence of each step from the last one on, dh (H) with what the next
// step gives back.
template <class T, class Body>
void for_steps_back(const RecurrentShape& s, const float* w, const float* cont, const T* dh,
                    const T* dgates, const Body& body) {
  for (int64_t t = s.steps - 1; t >= 0; --t) {
    for (int64_t n = 0; n < s.batch; ++n) {
      const int64_t row = t * s.batch + n;
      std::vector<double> total(s.hidden);
      for (int64_t j = 0; j < s.hidden; ++j) {
        total[j] = dh[row * s.hidden + j];
        if (t + 1 == s.steps) continue;
        const T* dgate = dgates + (row + s.batch) * s.gate_stride;
        double product = 0;
        for (int64_t k = 0; k < s.gates * s.hidden; ++k) {
          product += static_cast<double>(float{dgate[k]}) * w[k * s.hidden + j];
        }
        total[j] += cont[row + s.batch] * product;
      }
      body(row, n, total.data());
    }
  }
}

void store(const std::vector<double>& x, float* y) {
  std::transform(x.begin(), x.end(), y, [](double v) { return static_cast<float>(v); });
}

// ---- RNN ----

template <class T>
void rnn_forward(const RecurrentShape& s, const float* w, const float* cont, const float* h0,
                 float* gates, T* past, T* h) {
  for_steps(s, w, cont, h0, gates, past, h,
            [&](int64_t row, int64_t, float, const double* sums, float* gate) {
              for (int64_t j = 0; j < s.hidden; ++j) {
                gate[j] = static_cast<float>(std::tanh(sums[j]));
                h[row * s.hidden + j] = gate[j];
              }
            });
}

template <class T>
void rnn_backward(const RecurrentShape& s, const float* w, const float* cont, const float* gates,
                  const T* dh, T* dgates, float* sum) {
  std::vector<double> total(s.batch * s.hidden);
  for_steps_back(s, w, cont, dh, dgates, [&](int64_t row, int64_t n, const double* dh_total) {
    for (int64_t j = 0; j < s.hidden; ++j) {
      const double y = gates[row * s.gate_stride + j], gradient = dh_total[j] * (1 - y * y);
      dgates[row * s.gate_stride + j] = static_cast<float>(gradient);
      total[n * s.hidden + j] += gradient;
    }
  });
  store(total, sum);
}

// ---- LSTM ----

// Of one cell: activations of the gates `before`, H apart.
struct Gates {
  double i, f, o, g;

  template <class S>
  Gates(const S* before, int64_t hidden, float cont)
      : i(sigmoid(before[0])),
        f(cont == 0 ? 0 : cont * sigmoid(before[hidden])),
        o(sigmoid(before[2 * hidden])),
        g(std::tanh(static_cast<double>(before[3 * hidden]))) {}
  Gates(const float* after, int64_t hidden)
      : i(after[0]), f(after[hidden]), o(after[2 * hidden]), g(after[3 * hidden]) {}
};

// From the gradients of h and c to those of the gates before their activation, and of c_before.
struct CellGradient {
  double gates[4], c_before;

  CellGradient(const Gates& a, double c_before_value, double c, double dh, double dc) {
    const double tanh_c = std::tanh(c), total = dc + dh * a.o * (1 - tanh_c * tanh_c);
    gates[0] = total * a.g * a.i * (1 - a.i);
    gates[1] = total * c_before_value * a.f * (1 - a.f);
    gates[2] = dh * tanh_c * a.o * (1 - a.o);
    gates[3] = total * a.i * (1 - a.g * a.g);
    c_before = total * a.f;
  }
};

template <class T>
void lstm_forward(const RecurrentShape& s, const float* w, const float* cont, const float* h0,
                  const float* c0, float* gates, T* past, float* c, T* h) {
  const int64_t hidden = s.hidden;
  for_steps(s, w, cont, h0, gates, past, h,
            [&](int64_t row, int64_t n, float going_on, const double* sums, float* gate) {
              const float* c_before = before(s, row / s.batch, c0, c) + n * hidden;
              for (int64_t j = 0; j < hidden; ++j) {
                const Gates a(sums + j, hidden, going_on);
                const double values[] = {a.i, a.f, a.o, a.g};
                for (int k = 0; k < 4; ++k) gate[k * hidden + j] = static_cast<float>(values[k]);
                const double cell = a.f * c_before[j] + a.i * a.g;
                c[row * hidden + j] = static_cast<float>(cell);
                h[row * hidden + j] = static_cast<float>(a.o * std::tanh(cell));
              }
            });
}

template <class T>
void lstm_backward(const RecurrentShape& s, const float* w, const float* cont, const float* c0,
                   const float* gates, const float* c, const T* dh, T* dgates, float* sum) {
  const int64_t hidden = s.hidden;
  std::vector<double> dc(s.batch * hidden);  // what step t + 1 gives back to c[t]
  std::vector<double> total(s.batch * 4 * hidden);
  for_steps_back(s, w, cont, dh, dgates, [&](int64_t row, int64_t n, const double* dh_total) {
    const float* c_before = before(s, row / s.batch, c0, c) + n * hidden;
    for (int64_t j = 0; j < hidden; ++j) {
      const int64_t at = row * s.gate_stride + j;
      const CellGradient gradient(Gates(gates + at, hidden), c_before[j], c[row * hidden + j],
                                  dh_total[j], dc[n * hidden + j]);
      for (int k = 0; k < 4; ++k) {
        dgates[at + k * hidden] = static_cast<float>(gradient.gates[k]);
        total[(n * 4 + k) * hidden + j] += gradient.gates[k];
      }
      dc[n * hidden + j] = gradient.c_before;
    }
  });
  store(total, sum);
}

void lstm_unit_forward(int64_t batch, int64_t hidden, const float* cont, const float* c0,
                       const float* gates, float* c, float* h) {
  for (int64_t i = 0; i < batch * hidden; ++i) {
    const int64_t n = i / hidden;
    const Gates a(gates + n * 4 * hidden + i % hidden, hidden, cont[n]);
    const double cell = a.f * c0[i] + a.i * a.g;
    c[i] = static_cast<float>(cell);
    h[i] = static_cast<float>(a.o * std::tanh(cell));
  }
}

void lstm_unit_backward(int64_t batch, int64_t hidden, const float* cont, const float* c0,
                        const float* gates, const float* dc, const float* dh, float* dc0,
                        float* dgates) {
  for (int64_t i = 0; i < batch * hidden; ++i) {
    const int64_t n = i / hidden, at = n * 4 * hidden + i % hidden;
    const Gates a(gates + at, hidden, cont[n]);
    const CellGradient gradient(a, c0[i], a.f * c0[i] + a.i * a.g, dh[i], dc[i]);
    if (dc0) dc0[i] = static_cast<float>(gradient.c_before);
    for (int k = 0; dgates && k < 4; ++k) {
      dgates[at + k * hidden] = static_cast<float>(gradient.gates[k]);
    }
  }
}

}  // namespace

const RecurrentKernels recurrent = {packed_size,
                                    pack,
                                    pack,
                                    PYDL_TYPED(rnn_forward),
                                    PYDL_TYPED(lstm_forward),
                                    PYDL_TYPED(rnn_backward),
                                    PYDL_TYPED(lstm_backward),
                                    lstm_unit_forward,
                                    lstm_unit_backward};

}  // namespace pydl::kernels::ref
