// Working memory for kernels: a stack per thread that keeps its pages from call to call.
#pragma once

#include <cstdint>

namespace pydl::kernels {

// 64-byte aligned, uninitialised; given back at the end of the scope, last taken first.
// Take it outside parallel regions (it may throw std::bad_alloc) and share it out inside.
class Scratch {
 public:
  explicit Scratch(int64_t floats);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* data() const { return data_; }

 private:
  int64_t size_;
  float* data_;
};

// A count of floats rounded up, so that what follows it is aligned too.
constexpr int64_t aligned_size(int64_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace pydl::kernels
