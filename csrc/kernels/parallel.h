// Parallel loops for kernels: OpenMP with a fixed split, so that a result depends on the number of
// threads only where a kernel says so, and with denormals flushed inside.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

namespace pydl::kernels {

int num_threads();  // threads that a parallel region may use
void set_num_threads(int n);

// Flushes denormals to zero in this thread until the end of the scope.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  // Inlined always: a copy built for a newer instruction set must not be linked into other code.
  [[gnu::always_inline]] FlushDenormals() : saved_(_mm_getcsr()) {
    _mm_setcsr(saved_ | 0x8040);
  }  // FTZ | DAZ
  [[gnu::always_inline]] ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

struct Range {
  int64_t begin, end;
};

// Part `index` of `parts` nearly equal parts of [0, count), each but the last a multiple of `step`.
[[gnu::always_inline]] inline Range part_of(int64_t count, int index, int parts, int64_t step = 1) {
  const int64_t steps = (count + step - 1) / step;
  const int64_t begin = steps * index / parts * step, end = steps * (index + 1) / parts * step;
  return {begin < count ? begin : count, end < count ? end : count};
}

// body(thread, threads) once in each of at most `threads` threads; in this one alone for 1.
template <class Body>
void parallel(int threads, const Body& body) {
#ifdef _OPENMP
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel num_threads(threads)
    {
      [[maybe_unused]] FlushDenormals flush;
      body(omp_get_thread_num(), omp_get_num_threads());
    }
    return;
  }
#endif
  [[maybe_unused]] FlushDenormals flush;
  body(0, 1);
}

// body(begin, end) over parts of [0, count). `grain` is the least number of items worth a thread.
template <class Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  const int64_t most = grain > 0 ? count / grain : count;
  const int threads = most < 2 ? 1 : static_cast<int>(most < num_threads() ? most : num_threads());
  parallel(threads, [&](int thread, int parts) {
    const Range r = part_of(count, thread, parts);
    if (r.begin < r.end) body(r.begin, r.end);
  });
}

}  // namespace pydl::kernels
