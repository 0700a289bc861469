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

// (N, H) of the step before the i-th one that is taken; `first` before the first.
const float* before(const RecurrentShape& s, int64_t i, const float* first, const float* all) {
  return i == 0 ? first : all + s.row(i - 1) * s.hidden;
}

// body(i, n, sums, gate): for each sequence n of the i-th step taken. sums (G H): the recurrent
// products, the first `added` with the gates before their activation, which `gate` is the place of.
template <class T, class Body>
void for_steps(const RecurrentShape& s, const float* w, const float* cont, const float* h0,
               int64_t added, float* gates, T* past, const T* h, const Body& body) {
  for (int64_t step = 0; step < s.steps * s.batch; ++step) {
    const int64_t i = step / s.batch, n = step % s.batch;
    const int64_t row = s.row(i) + n, first = row * s.hidden;
    for (int64_t j = 0; j < s.hidden; ++j) {
      const int64_t at = n * s.hidden + j;
      const float h_before = i == 0 ? h0[at] : float{h[s.row(i - 1) * s.hidden + at]};
      past[first + j] = cont[row] * h_before;
    }
    float* gate = gates + row * s.gate_stride;
    std::vector<double> sums(gate, gate + added);
    sums.resize(s.gates * s.hidden);
    for (int64_t j = 0; j < s.gates * s.hidden; ++j) {
      for (int64_t k = 0; k < s.hidden; ++k) {
        sums[j] += static_cast<double>(float{past[first + k]}) * w[j * s.hidden + k];
      }
    }
    body(i, n, sums.data(), gate);
  }
}

// The recurrent gradients (G H) of one sequence in one step: of a GRU, that of u behind r and z.
template <class T>
std::vector<double> recurrent_part(const RecurrentShape& s, const T* dgate, bool gru) {
  std::vector<double> part(s.gates * s.hidden);
  for (int64_t k = 0; k < s.gates * s.hidden; ++k) {
    part[k] = dgate[gru && k >= 2 * s.hidden ? k + s.hidden : k];
  }
  return part;
}

// body(row, n, dh, back): for each sequence of each step from the last taken on, dh (H) with what
// the next one gives back; `back` (H) is what this one gives back without a product.
template <class T, class Body>
void for_steps_back(const RecurrentShape& s, const float* w, const float* cont, const T* dh,
                    const T* dgates, bool gru, const Body& body) {
  std::vector<double> back(s.batch * s.hidden);
  for (int64_t i = s.steps - 1; i >= 0; --i) {
    for (int64_t n = 0; n < s.batch; ++n) {
      const int64_t row = s.row(i) + n;
      const bool last = i + 1 == s.steps;
      const int64_t next = last ? row : s.row(i + 1) + n;
      const auto part = recurrent_part(s, dgates + next * s.gate_stride, gru);
      std::vector<double> total(s.hidden);
      for (int64_t j = 0; j < s.hidden; ++j) {
        total[j] = dh[row * s.hidden + j];
        if (last) continue;
        double product = back[n * s.hidden + j];
        for (int64_t k = 0; k < s.gates * s.hidden; ++k) product += part[k] * w[k * s.hidden + j];
        total[j] += cont[next] * product;
      }
      body(i, n, total.data(), back.data() + n * s.hidden);
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
  for_steps(s, w, cont, h0, s.hidden, gates, past, h,
            [&](int64_t i, int64_t n, const double* sums, float* gate) {
              for (int64_t j = 0; j < s.hidden; ++j) {
                gate[j] = static_cast<float>(std::tanh(sums[j]));
                h[(s.row(i) + n) * s.hidden + j] = gate[j];
              }
            });
}

template <class T>
void rnn_backward(const RecurrentShape& s, const float* w, const float* cont, const float* gates,
                  const T* dh, T* dgates, float* sum) {
  std::vector<double> total(s.batch * s.hidden);
  const auto body = [&](int64_t i, int64_t n, const double* dh_total, double*) {
    const int64_t row = s.row(i) + n;
    for (int64_t j = 0; j < s.hidden; ++j) {
      const double y = gates[row * s.gate_stride + j], gradient = dh_total[j] * (1 - y * y);
      dgates[row * s.gate_stride + j] = static_cast<float>(gradient);
      total[n * s.hidden + j] += gradient;
    }
  };
  for_steps_back(s, w, cont, dh, dgates, false, body);
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
  for_steps(s, w, cont, h0, s.gates * hidden, gates, past, h,
            [&](int64_t i, int64_t n, const double* sums, float* gate) {
              const int64_t row = s.row(i) + n;
              const float* c_before = before(s, i, c0, c) + n * hidden;
              for (int64_t j = 0; j < hidden; ++j) {
                const Gates a(sums + j, hidden, cont[row]);
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
  const auto body = [&](int64_t i, int64_t n, const double* dh_total, double*) {
    const int64_t row = s.row(i) + n;
    const float* c_before = before(s, i, c0, c) + n * hidden;
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
  };
  for_steps_back(s, w, cont, dh, dgates, false, body);
  store(total, sum);
}

// ---- GRU ----

template <class T>
void gru_forward(const RecurrentShape& s, const float* w, const float* cont, const float* b,
                 const float* h0, float* gates, T* past, float* state, T* h) {
  const int64_t hidden = s.hidden;
  std::vector<float> value(h0, h0 + s.batch * hidden);
  for_steps(s, w, cont, h0, 2 * hidden, gates, past, h,
            [&](int64_t i, int64_t n, const double* sums, float* gate) {
              const int64_t row = s.row(i) + n;
              for (int64_t j = 0; j < hidden; ++j) {
                const double r = sigmoid(sums[j] + b[j]);
                const double z = sigmoid(sums[hidden + j] + b[hidden + j]);
                const double u = sums[2 * hidden + j] + b[2 * hidden + j];
                const double fresh = std::tanh(gate[2 * hidden + j] + r * u);
                const double values[] = {r, z, fresh, u};
                for (int k = 0; k < 4; ++k) gate[k * hidden + j] = static_cast<float>(values[k]);
                float& old = value[n * hidden + j];
                old = static_cast<float>((1 - z) * fresh + z * cont[row] * old);
                h[row * hidden + j] = old;
              }
            });
  if (s.steps > 0) std::copy(value.begin(), value.end(), state);
}

template <class T>
void gru_backward(const RecurrentShape& s, const float* w, const float* cont, const float* gates,
                  const T* past, const T* dh, T* dgates, float* sum, float* sum_u) {
  const int64_t hidden = s.hidden;
  std::vector<double> total(s.batch * 3 * hidden), total_u(s.batch * hidden);
  const auto body = [&](int64_t i, int64_t n, const double* dh_total, double* back) {
    const int64_t row = s.row(i) + n;
    for (int64_t j = 0; j < hidden; ++j) {
      const float* gate = gates + row * s.gate_stride + j;
      const double r = gate[0], z = gate[hidden], fresh = gate[2 * hidden], u = gate[3 * hidden];
      const double of_n = dh_total[j] * (1 - z) * (1 - fresh * fresh);
      const double of_z = dh_total[j] * (float{past[row * hidden + j]} - fresh) * z * (1 - z);
      const double gradients[] = {of_n * u * r * (1 - r), of_z, of_n, of_n * r};
      for (int k = 0; k < 4; ++k) {
        dgates[row * s.gate_stride + k * hidden + j] = static_cast<float>(gradients[k]);
        double& sum_of = k < 3 ? total[(n * 3 + k) * hidden + j] : total_u[n * hidden + j];
        sum_of += gradients[k];
      }
      back[j] = dh_total[j] * z;
    }
  };
  for_steps_back(s, w, cont, dh, dgates, true, body);
  store(total, sum);
  store(total_u, sum_u);
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
                                    PYDL_TYPED(gru_forward),
                                    PYDL_TYPED(rnn_backward),
                                    PYDL_TYPED(lstm_backward),
                                    PYDL_TYPED(gru_backward),
                                    lstm_unit_forward,
                                    lstm_unit_backward};

}  // namespace pydl::kernels::ref
