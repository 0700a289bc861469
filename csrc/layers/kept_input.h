#pragma once

#include <cstring>
#include <vector>

#include "pydl/blob.h"

namespace pydl {

// A copy of an input that a layer overwrites in place, for its backward pass.
class KeptInput {
 public:
  void keep(int64_t count, ConstArray x) {
    dtype_ = x.dtype;
    bytes_.resize(static_cast<size_t>(count * bytes_of(dtype_)));
    std::memcpy(bytes_.data(), x.data, bytes_.size());
  }
  ConstArray get() const { return {bytes_.data(), dtype_}; }

 private:
  std::vector<std::byte> bytes_;
  DType dtype_ = DType::kFloat32;
};

}  // namespace pydl
