#include "stripes.h"

#include <cmath>
#include <random>

// Called from a thread that reads ahead, while the net computes.
pydl::Records Stripes::Read(const std::vector<int64_t>& numbers) {
  pydl::Records records;
  for (int64_t number : numbers) records.push_back(MakeStripes(number));
  return records;
}

// A function of the seed and the record's number alone: no image is stored.
pydl::Record Stripes::MakeStripes(int64_t number) const {
  const bool vertical = number % 2 == 1;
  std::mt19937 random(seed_ + static_cast<unsigned>(number));
  std::uniform_real_distribution<float> period(3, 8), phase(0, 6.2832f), noise(-0.7f, 0.7f);
  const float frequency = 6.2832f / period(random), shift = phase(random);
  std::vector<float> image;
  for (int64_t y = 0; y < kSide; ++y) {
    for (int64_t x = 0; x < kSide; ++x) {
      const float along = static_cast<float>(vertical ? x : y);
      image.push_back(std::sin(frequency * along + shift) + noise(random));
    }
  }
  return pydl::make_record({1, kSide, kSide}, std::move(image), vertical ? 1.0f : 0.0f);
}
