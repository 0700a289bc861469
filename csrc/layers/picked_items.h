// Items of a blob by their number along axis 0.
#pragma once

#include "kernels/eltwise.h"
#include "kernels/embed.h"
#include "pydl/layer.h"

namespace pydl {

// top (count, ...) = the items of bottom whose numbers are index (count), in range.
inline void pick_items(const Blob& bottom, int64_t count, const float* index, Array top) {
  kernels::embed_kernels().gather(count, bottom.shape(0), bottom.count(1), index, bottom.data(),
                                  nullptr, top);
}

// The gradient of pick_items: an item that was picked several times gets the sum.
inline void unpick_items(Blob* bottom, int64_t count, const float* index, ConstArray dy,
                         Propagate down) {
  if (down == Propagate::kNo) return;
  float* dx = down == Propagate::kAdd ? bottom->update_diff() : bottom->mutable_diff();
  if (down == Propagate::kWrite) kernels::eltwise_kernels().fill(bottom->count(), 0, dx);
  kernels::embed_kernels().scatter_add(count, bottom->shape(0), bottom->count(1), index, dy, dx);
}

}  // namespace pydl
