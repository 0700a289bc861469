// Images of stripes, horizontal (label 0) or vertical (1), of random width, phase and noise.
#pragma once

#include <pydl/pydl.h>

class Stripes final : public pydl::DataSource {
 public:
  static constexpr int64_t kSide = 16;

  Stripes(int64_t size, unsigned seed) : size_(size), seed_(seed) {}
  int64_t size() const override { return size_; }
  pydl::Records Read(const std::vector<int64_t>& numbers) override;

 private:
  pydl::Record MakeStripes(int64_t number) const;

  int64_t size_;
  unsigned seed_;
};
