// What the machine can do at most: float32 multiply-adds from registers, and reads from memory.
// benchmarks/peak.py compiles this for the CPU at hand and calls it.

#include <omp.h>

#include <cstdint>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

// Enough chains to hide the latency of two units, few enough to stay in 16 registers.
constexpr int kChains = 12;

// Converges to 1, so that no denormal or infinity comes up.
float multiply_add(int64_t steps) {
  Vector sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = Vector{} + static_cast<float>(c);
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sum[c] = sum[c] * 0.999f + 0.001f;
  }
  float total = 0;
  for (int c = 0; c < kChains; ++c) total += sum[c][0];
  return total;
}

float read_all(const float* data, int64_t count) {
  Vector sum[kChains] = {};
  const auto* v = reinterpret_cast<const Vector*>(data);
  for (int64_t i = 0; i + kChains <= count / kLanes; i += kChains) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sum[c] += v[i + c];
  }
  float total = 0;
  for (int c = 0; c < kChains; ++c) total += sum[c][0];
  return total;
}

}  // namespace

extern "C" {

// FLOP/s of `threads` threads together, over `steps` steps of each.
double peak_flops(int threads, int64_t steps) {
  double seconds = 0;
  volatile float sink = 0;
#pragma omp parallel num_threads(threads)
  {
    sink = multiply_add(steps / 10);  // the clock settles
#pragma omp barrier
    const double start = omp_get_wtime();
    const float total = multiply_add(steps);
#pragma omp barrier
#pragma omp master
    seconds = omp_get_wtime() - start;
    sink = total;
  }
  return 2.0 * kLanes * kChains * static_cast<double>(steps) * threads / seconds;
}

// Bytes/s at which `threads` threads together read an array, aligned to 64 bytes.
double read_bandwidth(int threads, const float* data, int64_t count) {
  volatile float sink = 0;
  const int64_t part = count / threads / 64 * 64;
  const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads)
  sink = read_all(data + omp_get_thread_num() * part, part);
  return static_cast<double>(part * threads) * sizeof(float) / (omp_get_wtime() - start);
}

}  // extern "C"
