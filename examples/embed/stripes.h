// Images of stripes, horizontal (label 0) or vertical (1), of random width, phase and noise.
#pragma once

#include <pydl/pydl.h>

class Stripes final : public pydl::DataSource {
 public:
  static constexpr int64_t kSide = 16;

  Stripes(int64_t size, unsigned seed) : size_(size), seed_(seed) {}
  int64_t size() const override { return size_; }
  pydl::Shape record_shape() const override { return {1, kSide, kSide}; }
  void Read(const int64_t* indices, int64_t count, float* images, float* labels) override;

 private:
  int64_t size_;
  unsigned seed_;
};
