#pragma once

#include "kernels/isa.h"
#include "pydl/blob.h"

namespace pydl {

// Tells whether something made from a learnable blob (its packed copy) must be made again.
class WeightsCache {
 public:
  bool stale(const Blob& weights) {
    const Tensor& tensor = weights.data_tensor();
    // Whoever holds a view may have written to it without a trace.
    const bool same = tensor.version() == version_ && !tensor.exposed() && &tensor == tensor_ &&
                      kernels::isa() == isa_;
    version_ = tensor.version();
    tensor_ = &tensor;
    isa_ = kernels::isa();
    return !same;
  }

 private:
  uint64_t version_ = 0;
  const Tensor* tensor_ = nullptr;
  kernels::Isa isa_ = kernels::Isa::kRef;
};

}  // namespace pydl
