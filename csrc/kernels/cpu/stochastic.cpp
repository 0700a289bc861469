// Stochastic units (stochastic.h).
#include "kernels/stochastic.h"

#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/philox.h"

namespace pydl::kernels::PYDL_ISA {

extern const StochasticKernels stochastic;

namespace {

PYDL_INLINE Vec draw_below(VecI word, Vec p) {
  return select(uniform_draw(word) < p, broadcast(1.0f), Vec{});
}

// The polynomial with these coefficients, the highest power's first.
template <int N>
PYDL_INLINE Vec polynomial(Vec v, const float (&coefficients)[N]) {
  Vec y = broadcast(coefficients[0]);
#pragma GCC unroll 8
  for (int i = 1; i < N; ++i) y = y * v + coefficients[i];
  return y;
}

// The standard normal's quantile, through the inverse of erf: x times a polynomial in
// w = -log(1 - x^2) near the middle, and in its root at the ends (Giles 2011, "Approximating the
// erfinv function"). x is an odd multiple of 2^-23, so that 1 - x and 1 + x are exact.
PYDL_INLINE Vec gaussian_draw(VecI word) {
  constexpr float kMiddle[] = {2.81022636e-08f,  3.43273939e-07f, -3.5233877e-06f,
                               -4.39150654e-06f, 0.00021858087f,  -0.00125372503f,
                               -0.00417768164f,  0.246640727f,    1.50140941f};
  constexpr float kEnds[] = {-0.000200214257f, 0.000100950558f, 0.00134934322f,
                             -0.00367342844f,  0.00573950773f,  -0.0076224613f,
                             0.00943887047f,   1.00167406f,     2.83297682f};
  constexpr float kSqrt2 = 0x1.6a09e6p0f;
  const Vec x = to_float((word >> 9) & 0x7fffff) * 0x1p-22f + (0x1p-23f - 1.0f);
  const Vec w = -log((1.0f - x) * (1.0f + x));
  const Vec middle = polynomial(w - 2.5f, kMiddle), ends = polynomial(sqrt(w) - 3.0f, kEnds);
  return kSqrt2 * x * select(w < 5.0f, middle, ends);
}

void uniform(int64_t n, uint64_t seed, uint64_t stream, float* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    store_some(y + i, uniform_draw(word), lanes);
  });
}

void bernoulli(int64_t n, const float* x, uint64_t seed, uint64_t stream, float* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    store_some(y + i, draw_below(word, load_some(x + i, lanes)), lanes);
  });
}

void sigmoid_bernoulli(int64_t n, const float* x, uint64_t seed, uint64_t stream, float* p,
                       float* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    const Vec probability = sigmoid(load_some(x + i, lanes));
    store_some(p + i, probability, lanes);
    store_some(y + i, draw_below(word, probability), lanes);
  });
}

void add_gaussian(int64_t n, const float* x, float deviation, uint64_t seed, uint64_t stream,
                  float* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    store_some(y + i, load_some(x + i, lanes) + deviation * gaussian_draw(word), lanes);
  });
}

void corrupt(int64_t n, const float* x, float ratio, float low, float high, uint64_t seed,
             uint64_t stream, float* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    const Vec u = uniform_draw(word), v = load_some(x + i, lanes);
    const Vec hit = select(u < ratio / 2, broadcast(low), broadcast(high));
    store_some(y + i, select(u < ratio, hit, v), lanes);
  });
}

void gaussian_sample(int64_t n, const float* mean, const float* log_variance, uint64_t seed,
                     uint64_t stream, float* slope, float* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    const Vec deviation = exp(0.5f * load_some(log_variance + i, lanes));
    const Vec noise = deviation * gaussian_draw(word);
    store_some(slope + i, 0.5f * noise, lanes);
    store_some(y + i, load_some(mean + i, lanes) + noise, lanes);
  });
}

double gaussian_kl(int64_t n, const float* mean, const float* log_variance) {
  double total = 0;
  const auto add_up = [](const Vec* v, const Vec*, Vec* sum) {
    sum[0] += v[0] * v[0] + (expm1(v[1]) - v[1]);
  };
  constexpr float* kNoOutput = nullptr;
  sum_plain<1>({1, 1, n}, pointers(mean, log_variance), Pointers<0>{}, add_up, &total, kNoOutput);
  return total / 2;
}

void gaussian_kl_backward(int64_t n, const float* log_variance, float scale, float* dlog_variance) {
  map(n, kMathGrain, dlog_variance, [=](Vec v) { return 0.5f * scale * expm1(v); }, log_variance);
}

}  // namespace

const StochasticKernels stochastic = {
    uniform, bernoulli,       sigmoid_bernoulli, add_gaussian,
    corrupt, gaussian_sample, gaussian_kl,       gaussian_kl_backward};

}  // namespace pydl::kernels::PYDL_ISA
