// Parallel loops for kernels: OpenMP with a fixed split, so that a result depends on the number of
// threads only where a kernel says so, and with denormals flushed inside.
#pragma once

#include <cstdint>

namespace pydl::kernels {

int num_threads();  // threads that a parallel region may use
void set_num_threads(int n);

struct Range {
  int64_t begin, end;
};

// Part `index` of `parts` nearly equal parts of [0, count), each but the last a multiple of `step`.
[[gnu::always_inline]] inline Range part_of(int64_t count, int index, int parts, int64_t step = 1) {
  const int64_t steps = (count + step - 1) / step;
  const int64_t begin = steps * index / parts * step, end = steps * (index + 1) / parts * step;
  return {begin < count ? begin : count, end < count ? end : count};
}

// call(body, thread, threads) once in each of at most `threads` threads; in this one alone for 1.
void run_parallel(int threads, void (*call)(const void* body, int thread, int threads),
                  const void* body);

// body(thread, threads), in the same way. There is one copy of the code, for one thread or many.
template <class Body>
void parallel(int threads, const Body& body) {
  run_parallel(
      threads,
      [](const void* b, int thread, int count) { (*static_cast<const Body*>(b))(thread, count); },
      &body);
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
