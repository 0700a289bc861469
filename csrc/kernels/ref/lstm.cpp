// The definition of the recurrence in lstm.h: plain loops, double accumulation. Weights are
// "packed" as they are.
#include "kernels/lstm.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace pydl::kernels::ref {

extern const LstmKernels lstm;

namespace {

int64_t packed_size(const LstmShape& s) { return 4 * s.hidden * s.hidden; }

void pack(const LstmShape& s, const float* w, float* packed) {
  std::copy_n(w, packed_size(s), packed);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The step's (N, H) arrays; the step before it of the first one is `first`.
const float* before(const LstmShape& s, int64_t step, const float* first, const float* all) {
  return step == 0 ? first : all + (step - 1) * s.batch * s.hidden;
}

void forward(const LstmShape& s, const float* w, const float* cont, const float* h0,
             const float* c0, float* gates, float* past, float* c, float* h) {
  const int64_t hidden = s.hidden, size = s.batch * hidden;
  for (int64_t t = 0; t < s.steps; ++t) {
    const float *h_before = before(s, t, h0, h), *c_before = before(s, t, c0, c);
    for (int64_t n = 0; n < s.batch; ++n) {
      const float going_on = cont[t * s.batch + n];
      float* gate = gates + (t * s.batch + n) * s.gate_stride;
      const int64_t first = t * size + n * hidden;
      for (int64_t j = 0; j < hidden; ++j) past[first + j] = going_on * h_before[n * hidden + j];
      for (int64_t j = 0; j < 4 * hidden; ++j) {
        double sum = gate[j];
        for (int64_t k = 0; k < hidden; ++k) {
          sum += static_cast<double>(past[first + k]) * w[j * hidden + k];
        }
        sum = j < 3 * hidden ? sigmoid(sum) : std::tanh(sum);
        const bool forgets = j / hidden == 1;
        gate[j] = static_cast<float>(forgets ? (going_on == 0 ? 0 : going_on * sum) : sum);
      }
      for (int64_t j = 0; j < hidden; ++j) {
        const double i = gate[j], f = gate[hidden + j], o = gate[2 * hidden + j];
        const double value = f * c_before[n * hidden + j] + i * gate[3 * hidden + j];
        c[first + j] = static_cast<float>(value);
        h[first + j] = static_cast<float>(o * std::tanh(value));
      }
    }
  }
}

void backward(const LstmShape& s, const float* w, const float* cont, const float* c0,
              const float* gates, const float* c, const float* dh, float* dgates, float* sum) {
  const int64_t hidden = s.hidden;
  std::vector<double> dc(s.batch * hidden);  // what step t + 1 gives back to c[t]
  for (int64_t t = s.steps - 1; t >= 0; --t) {
    const float* c_before = before(s, t, c0, c);
    for (int64_t n = 0; n < s.batch; ++n) {
      const int64_t row = t * s.batch + n;
      for (int64_t j = 0; j < hidden; ++j) {
        double dh_total = dh[row * hidden + j];
        if (t + 1 < s.steps) {
          const float* dgate = dgates + (row + s.batch) * s.gate_stride;
          double product = 0;
          for (int64_t k = 0; k < 4 * hidden; ++k) {
            product += static_cast<double>(dgate[k]) * w[k * hidden + j];
          }
          dh_total += cont[row + s.batch] * product;
        }
        const float* gate = gates + row * s.gate_stride + j;
        const double i = gate[0], f = gate[hidden], o = gate[2 * hidden], g = gate[3 * hidden];
        const double tanh_c = std::tanh(static_cast<double>(c[row * hidden + j]));
        double* dc_n = &dc[n * hidden + j];
        const double dc_total = *dc_n + dh_total * o * (1 - tanh_c * tanh_c);
        float* dgate = dgates + row * s.gate_stride + j;
        dgate[0] = static_cast<float>(dc_total * g * i * (1 - i));
        dgate[hidden] = static_cast<float>(dc_total * c_before[n * hidden + j] * f * (1 - f));
        dgate[2 * hidden] = static_cast<float>(dh_total * tanh_c * o * (1 - o));
        dgate[3 * hidden] = static_cast<float>(dc_total * i * (1 - g * g));
        *dc_n = dc_total * f;
      }
    }
  }
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t j = 0; j < 4 * hidden; ++j) {
      double total = 0;
      for (int64_t t = 0; t < s.steps; ++t) total += dgates[(t * s.batch + n) * s.gate_stride + j];
      sum[n * 4 * hidden + j] = static_cast<float>(total);
    }
  }
}

}  // namespace

const LstmKernels lstm = {packed_size, pack, pack, forward, backward};

}  // namespace pydl::kernels::ref
