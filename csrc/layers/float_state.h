// Floats among the numbers that a layer gives as its state(), which are integers: two in each.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace pydl {

class FloatState {
 public:
  int64_t size() const { return size_; }
  // All zeros, if the size is another.
  void resize(int64_t size) {
    if (size == size_) return;
    size_ = size;
    pairs_.assign(static_cast<size_t>((size + 1) / 2), 0);
  }
  void read(float* values) const { std::memcpy(values, pairs_.data(), bytes()); }
  void write(const float* values) { std::memcpy(pairs_.data(), values, bytes()); }
  void append_to(std::vector<int64_t*>* state) {
    for (int64_t& pair : pairs_) state->push_back(&pair);
  }

 private:
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(float); }

  int64_t size_ = 0;
  std::vector<int64_t> pairs_;
};

}  // namespace pydl
