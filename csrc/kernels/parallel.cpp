#include "kernels/parallel.h"

#include <atomic>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#include "core/check.h"

namespace pydl::kernels {
namespace {

// 0: what OpenMP would use.
std::atomic<int> limit{0};

// Flushes denormals to zero in this thread until the end of the scope.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }  // FTZ | DAZ
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

}  // namespace

int num_threads() {
  const int n = limit.load(std::memory_order_relaxed);
#ifdef _OPENMP
  return n > 0 ? n : omp_get_max_threads();
#else
  return n > 0 ? n : 1;
#endif
}

void set_num_threads(int n) {
  check(n >= 1, "the number of threads must be at least 1, not ", n);
#ifndef _OPENMP
  n = 1;
#endif
  limit.store(n, std::memory_order_relaxed);
}

void run_parallel(int threads, void (*call)(const void* body, int thread, int threads),
                  const void* body) {
#ifdef _OPENMP
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel num_threads(threads)
    {
      [[maybe_unused]] FlushDenormals flush;
      call(body, omp_get_thread_num(), omp_get_num_threads());
    }
    return;
  }
#endif
  [[maybe_unused]] FlushDenormals flush;
  call(body, 0, 1);
}

}  // namespace pydl::kernels
