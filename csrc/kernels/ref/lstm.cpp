// The definition of the recurrence in lstm.h: plain loops, double accumulation. Weights are
// "packed" as they are, rounded.
#include "kernels/lstm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const LstmKernels lstm;

namespace {

int64_t packed_size(const LstmShape& s, DType) { return 4 * s.hidden * s.hidden; }

float rounded(float x, DType dtype) {
  bfloat16 b;
  return dtype == DType::kBFloat16 ? b = x : x;
}

void pack(const LstmShape& s, const float* w, DType dtype, float* packed) {
  std::transform(w, w + packed_size(s, dtype), packed,
                 [=](float value) { return rounded(value, dtype); });
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The step's (N, H) arrays; the step before it of the first one is `first`.
const float* before(const LstmShape& s, int64_t step, const float* first, const float* all) {
  return step == 0 ? first : all + (step - 1) * s.batch * s.hidden;
}

template <class T>
void forward(const LstmShape& s, const float* w, const float* cont, const float* h0,
             const float* c0, float* gates, T* past, float* c, T* h) {
  const int64_t hidden = s.hidden, size = s.batch * hidden;
  for (int64_t t = 0; t < s.steps; ++t) {
    const float* c_before = before(s, t, c0, c);
    for (int64_t n = 0; n < s.batch; ++n) {
      const float going_on = cont[t * s.batch + n];
      float* gate = gates + (t * s.batch + n) * s.gate_stride;
      const int64_t first = t * size + n * hidden;
      for (int64_t j = 0; j < hidden; ++j) {
        const float h_before = t == 0 ? h0[n * hidden + j] : h[first - size + j];
        past[first + j] = going_on * h_before;
      }
      for (int64_t j = 0; j < 4 * hidden; ++j) {
        double sum = gate[j];
        for (int64_t k = 0; k < hidden; ++k) {
          sum += static_cast<double>(float{past[first + k]}) * w[j * hidden + k];
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

template <class T>
void backward(const LstmShape& s, const float* w, const float* cont, const float* c0,
              const float* gates, const float* c, const T* dh, T* dgates, float* sum) {
  const int64_t hidden = s.hidden;
  std::vector<double> dc(s.batch * hidden);  // what step t + 1 gives back to c[t]
  std::vector<double> total(s.batch * 4 * hidden);
  for (int64_t t = s.steps - 1; t >= 0; --t) {
    const float* c_before = before(s, t, c0, c);
    for (int64_t n = 0; n < s.batch; ++n) {
      const int64_t row = t * s.batch + n;
      for (int64_t j = 0; j < hidden; ++j) {
        double dh_total = dh[row * hidden + j];
        if (t + 1 < s.steps) {
          const T* dgate = dgates + (row + s.batch) * s.gate_stride;
          double product = 0;
          for (int64_t k = 0; k < 4 * hidden; ++k) {
            product += static_cast<double>(float{dgate[k]}) * w[k * hidden + j];
          }
          dh_total += cont[row + s.batch] * product;
        }
        const float* gate = gates + row * s.gate_stride + j;
        const double i = gate[0], f = gate[hidden], o = gate[2 * hidden], g = gate[3 * hidden];
        const double tanh_c = std::tanh(static_cast<double>(c[row * hidden + j]));
        double* dc_n = &dc[n * hidden + j];
        const double dc_total = *dc_n + dh_total * o * (1 - tanh_c * tanh_c);
        const double gradients[] = {dc_total * g * i * (1 - i),
                                    dc_total * c_before[n * hidden + j] * f * (1 - f),
                                    dh_total * tanh_c * o * (1 - o), dc_total * i * (1 - g * g)};
        for (int which = 0; which < 4; ++which) {
          dgates[row * s.gate_stride + which * hidden + j] = static_cast<float>(gradients[which]);
          total[(n * 4 + which) * hidden + j] += gradients[which];
        }
        *dc_n = dc_total * f;
      }
    }
  }
  std::transform(total.begin(), total.end(), sum, [](double x) { return static_cast<float>(x); });
}

}  // namespace

const LstmKernels lstm = {packed_size, pack, pack, PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::ref
