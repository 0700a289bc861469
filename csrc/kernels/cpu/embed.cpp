#include "kernels/embed.h"

#include "kernels/cpu/map.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const EmbedKernels embed;

namespace {

template <class T>
void gather(int64_t count, int64_t, int64_t size, const float* index, const float* w,
            const float* bias, T* y) {
  parallel_for(count, items_worth(kGrain, size), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const float* row = w + static_cast<int64_t>(index[n]) * size;
      for_each_vector(0, size, [&](int64_t j, int64_t lanes) {
        Vec v = load_some(row + j, lanes);
        if (bias) v += load_some(bias + j, lanes);
        store_some(y + n * size + j, v, lanes);
      });
    }
  });
}

// Each thread has columns of its own: rows would need a search for the indices that are its.
template <class T>
void scatter_add(int64_t count, int64_t, int64_t size, const float* index, const T* dy, float* dw) {
  const int64_t vectors = ceil_div(size, kLanes);
  parallel_for(vectors, items_worth(kGrain, count * kLanes), [&](int64_t begin, int64_t end) {
    for (int64_t n = 0; n < count; ++n) {
      const T* from = dy + n * size;
      float* row = dw + static_cast<int64_t>(index[n]) * size;
      for_each_vector(begin * kLanes, smaller(end * kLanes, size), [&](int64_t j, int64_t lanes) {
        store_some(row + j, load_some(row + j, lanes) + load_some(from + j, lanes), lanes);
      });
    }
  });
}

}  // namespace

const EmbedKernels embed = {PYDL_TYPED(gather), PYDL_TYPED(scatter_add)};

}  // namespace pydl::kernels::PYDL_ISA
