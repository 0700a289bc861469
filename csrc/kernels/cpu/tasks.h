// parallel_for with working memory for each thread.
#pragma once

#include "kernels/cpu/map.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

// body(begin, end, scratch): as parallel_for, with `floats` floats of uninitialised scratch.
template <class Body>
PYDL_INLINE void parallel_for_scratch(int64_t count, int64_t grain, int64_t floats,
                                      const Body& body) {
  const int64_t size = aligned_size(floats);
  const int threads = static_cast<int>(larger(1, smaller(num_threads(), count / larger(grain, 1))));
  const Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int parts) {
    const Range r = part_of(count, thread, parts);
    if (r.begin < r.end) body(r.begin, r.end, scratch.data() + thread * size);
  });
}

}  // namespace pydl::kernels::PYDL_ISA
