#include "kernels/parallel.h"

#include <atomic>

#include "core/check.h"

namespace pydl::kernels {
namespace {

// 0: what OpenMP would use.
std::atomic<int> limit{0};

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

}  // namespace pydl::kernels
