// Elementwise kernels whose code is small: y[i] = f(a[i]) or f(a[i], b[i]), as map() (map.h) does
// it for the hot ones, but with one copy of f for whole vectors of floats. Other element types and
// the rest of a page go through buffers in the first-level cache.
#pragma once

#include <type_traits>

#include "kernels/cpu/map.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

// f over n floats, a multiple of kLanes.
using ApplyToFloats = void (*)(const void* f, int64_t n, const float* a, const float* b, float* y);

template <class F>
PYDL_FLATTEN void apply_to_floats(const void* function, int64_t n, const float* a, const float* b,
                                  float* y) {
  const F f = *static_cast<const F*>(function);
  for (int64_t i = 0; i < n; i += kLanes) {
    if constexpr (std::is_invocable_v<F, Vec, Vec>) {
      store(y + i, f(load(a + i), load(b + i)));
    } else {
      store(y + i, f(load(a + i)));
    }
  }
}

// n <= kPage elements; floats up to the next multiple of kLanes are written.
inline void read_floats(ConstArray x, int64_t first, int64_t n, float* out) {
  with_type(x, [=](const auto* p) {
    for_each_vector(
        0, n, [=](int64_t i, int64_t lanes) { store(out + i, load_some(p + first + i, lanes)); });
  });
}
inline void write_floats(const float* x, int64_t first, int64_t n, Array out) {
  with_type(out, [=](auto* p) {
    for_each_vector(
        0, n, [=](int64_t i, int64_t lanes) { store_some(p + first + i, load(x + i), lanes); });
  });
}

[[gnu::noinline]] inline void apply_with(int64_t n, int64_t grain, const void* f, ApplyToFloats run,
                                         Array y, ConstArray a, ConstArray b) {
  constexpr int64_t kPage = 1024;
  const bool direct = CommonType(y, a, b).get() == DType::kFloat32;
  parallel_for(ceil_div(n, kPage), grain / kPage, [=](int64_t begin, int64_t end) {
    float buffers[3][kPage];
    for (int64_t first = begin * kPage; first < smaller(end * kPage, n); first += kPage) {
      const int64_t count = smaller(kPage, n - first);
      const int64_t whole = direct ? count / kLanes * kLanes : 0;
      if (whole) {
        run(f, whole, static_cast<const float*>(a.data) + first,
            b ? static_cast<const float*>(b.data) + first : nullptr,
            static_cast<float*>(y.data) + first);
      }
      if (whole == count) continue;
      const int64_t rest = count - whole, at = first + whole;
      read_floats(a, at, rest, buffers[0]);
      if (b) read_floats(b, at, rest, buffers[1]);
      run(f, ceil_div(rest, kLanes) * kLanes, buffers[0], buffers[1], buffers[2]);
      write_floats(buffers[2], at, rest, y);
    }
  });
}

// y may be an input. The arrays are of one type.
template <class F>
void apply(int64_t n, int64_t grain, const F& f, Array y, ConstArray a, ConstArray b = {}) {
  apply_with(n, grain, &f, &apply_to_floats<F>, y, a, b);
}

}  // namespace pydl::kernels::PYDL_ISA
