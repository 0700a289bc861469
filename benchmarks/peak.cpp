// What the machine can do at most: multiply-adds from registers in float32 and in bfloat16, and
// moves between memory and registers. benchmarks/peak.py compiles this for the CPU at hand.

#include <immintrin.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

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

// A thread's bfloat16 products per step; 0 where the CPU has none of the instructions for them.
#if defined(__AMX_BF16__)
constexpr int kBf16FlopsPerStep = 4 * 2 * 16 * 16 * 32;

bool allow_bf16() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Four independent 16 x 16 tiles of sums.
float multiply_add_bf16(int64_t steps) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < steps; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float sums[256];
  _tile_stored(0, sums, 64);
  _tile_release();
  return sums[0];
}
#elif defined(__AVX512BF16__)
constexpr int kLongChains = 24;  // their latency is longer
constexpr int kBf16FlopsPerStep = kLongChains * 2 * 32;

bool allow_bf16() { return true; }

float multiply_add_bf16(int64_t steps) {
  __m512 sum[kLongChains];
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
#pragma GCC unroll 24
  for (int c = 0; c < kLongChains; ++c) sum[c] = _mm512_set1_ps(static_cast<float>(c));
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kLongChains; ++c) sum[c] = _mm512_dpbf16_ps(sum[c], a, a);
  }
  float total = 0;
#pragma GCC unroll 24
  for (int c = 0; c < kLongChains; ++c) total += _mm512_cvtss_f32(sum[c]);
  return total;
}
#else
constexpr int kBf16FlopsPerStep = 0;
bool allow_bf16() { return false; }
float multiply_add_bf16(int64_t) { return 0; }
#endif

// FLOP/s of `threads` threads together, over `steps` steps of each.
template <class Kernel>
double flops_per_second(int threads, int64_t steps, double flops_per_step, Kernel kernel) {
  double seconds = 0;
  [[maybe_unused]] volatile float sink = 0;
#pragma omp parallel num_threads(threads)
  {
    sink = kernel(steps / 10);  // the clock settles
#pragma omp barrier
    const double start = omp_get_wtime();
    const float total = kernel(steps);
#pragma omp barrier
#pragma omp master
    seconds = omp_get_wtime() - start;
    sink = total;
  }
  return flops_per_step * static_cast<double>(steps) * threads / seconds;
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

void scale_all(float* data, int64_t count) {
  auto* v = reinterpret_cast<Vector*>(data);
  for (int64_t i = 0; i < count / kLanes; ++i) v[i] *= 1.0000001f;
}

// Past the caches where the CPU can: what is overwritten need not be read first.
void copy_all(const float* from, float* to, int64_t count) {
#if defined(__AVX512F__)
  for (int64_t i = 0; i < count; i += 16) _mm512_stream_ps(to + i, _mm512_load_ps(from + i));
#else
  for (int64_t i = 0; i < count; i += 4) _mm_stream_ps(to + i, _mm_load_ps(from + i));
#endif
}

}  // namespace

extern "C" {

double peak_flops(int threads, int64_t steps) {
  return flops_per_second(threads, steps, 2.0 * kLanes * kChains, multiply_add);
}

// 0 where the CPU has no bfloat16 products.
double peak_flops_bf16(int threads, int64_t steps) {
  if (!allow_bf16()) return 0;
  return flops_per_second(threads, steps, kBf16FlopsPerStep, multiply_add_bf16);
}

// Bytes/s at which `threads` threads together read an array, aligned to 64 bytes.
double read_bandwidth(int threads, const float* data, int64_t count) {
  [[maybe_unused]] volatile float sink = 0;
  const int64_t part = count / threads / 64 * 64;
  const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads)
  sink = read_all(data + omp_get_thread_num() * part, part);
  return static_cast<double>(part * threads) * sizeof(float) / (omp_get_wtime() - start);
}

// Bytes/s, read and written, at which they scale an array in place.
double update_bandwidth(int threads, float* data, int64_t count) {
  const int64_t part = count / threads / 64 * 64;
  const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads)
  scale_all(data + omp_get_thread_num() * part, part);
  return 2.0 * static_cast<double>(part * threads) * sizeof(float) / (omp_get_wtime() - start);
}

// Bytes/s, read and written, at which they copy an array's first half to its second.
double copy_bandwidth(int threads, float* data, int64_t count) {
  const int64_t half = count / 2 / 64 * 64, part = half / threads / 64 * 64;
  const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads)
  copy_all(data + omp_get_thread_num() * part, data + half + omp_get_thread_num() * part, part);
  return 2.0 * static_cast<double>(part * threads) * sizeof(float) / (omp_get_wtime() - start);
}

}  // extern "C"
