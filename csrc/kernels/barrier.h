// A meeting point for the threads of one parallel region, for kernels whose steps take only
// microseconds and depend on one another.
#pragma once

#include <atomic>
#include <thread>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace pydl::kernels {

class Barrier {
 public:
  // Returns once `threads` threads, all running at the same time, have called it. What each wrote
  // before can be read by all after. Inlined always: a copy built for a newer instruction set must
  // not be linked into other code.
  [[gnu::always_inline]] void wait(int threads) {
    if (threads == 1) return;
    const unsigned round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      // More threads than cores: let the late one run.
      spins < kMostSpins ? pause() : std::this_thread::yield();
    }
  }

 private:
  static constexpr int kMostSpins = 2000;

  [[gnu::always_inline]] static void pause() {
#if defined(__SSE2__)
    _mm_pause();
#endif
  }

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace pydl::kernels
