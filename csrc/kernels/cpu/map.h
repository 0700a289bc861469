// Elementwise kernels: y[i] = f(x[i], ...) in parallel, over vectors. y may be one of the inputs.
#pragma once

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/integers.h"
#include "kernels/cpu/simd.h"
#include "kernels/parallel.h"

namespace pydl::kernels::PYDL_ISA {

// Floats worth a thread: for arithmetic, and for elementary functions.
constexpr int64_t kGrain = 16384, kMathGrain = 4096;

// How many items of `size` floats are worth a thread.
constexpr int64_t items_worth(int64_t grain, int64_t size) {
  return larger(1, grain / larger(1, size));
}

// body(i, n): for all whole vectors (n = kLanes) of [begin, end), then for the rest. The two calls
// are two copies of the body.
template <class Body>
PYDL_INLINE void for_each_vector(int64_t begin, int64_t end, const Body& body) {
  int64_t i = begin;
#pragma GCC unroll 4
  for (; i + kLanes <= end; i += kLanes) body(i, kLanes);
  if (i < end) body(i, end - i);
}

// Whole vectors when n is the constant kLanes.
template <class T>
PYDL_INLINE auto load_some(const T* p, int64_t n) {
  return n == kLanes ? load(p) : load_n(p, n);
}
template <class T, class V>
PYDL_INLINE void store_some(T* p, V v, int64_t n) {
  n == kLanes ? store(p, v) : store_n(p, v, n);
}

// for_each_vector in parallel; threads start at multiples of a page of floats.
template <class Body>
PYDL_INLINE void parallel_for_vectors(int64_t n, int64_t grain, const Body& body) {
  constexpr int64_t kPage = 1024;
  parallel_for(ceil_div(n, kPage), grain / kPage, [&](int64_t begin, int64_t end) PYDL_FLATTEN {
    for_each_vector(begin * kPage, smaller(end * kPage, n), body);
  });
}

template <class Y, class F, class... X>
PYDL_INLINE void map(int64_t n, int64_t grain, Y* y, const F& f, const X*... x) {
  parallel_for_vectors(n, grain, [&](int64_t i, int64_t lanes) {
    store_some(y + i, f(load_some(x + i, lanes)...), lanes);
  });
}

}  // namespace pydl::kernels::PYDL_ISA
