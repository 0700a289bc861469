#include "stripes.h"

#include <cmath>
#include <random>

// Record i is a function of the seed and i alone: no image is stored.
void Stripes::Read(const int64_t* indices, int64_t count, float* images, float* labels) {
  for (int64_t n = 0; n < count; ++n) {
    const bool vertical = indices[n] % 2 == 1;
    std::mt19937 random(seed_ + static_cast<unsigned>(indices[n]));
    std::uniform_real_distribution<float> period(3, 8), phase(0, 6.2832f), noise(-0.7f, 0.7f);
    const float frequency = 6.2832f / period(random), shift = phase(random);
    for (int64_t y = 0; y < kSide; ++y) {
      for (int64_t x = 0; x < kSide; ++x) {
        const float along = static_cast<float>(vertical ? x : y);
        *images++ = std::sin(frequency * along + shift) + noise(random);
      }
    }
    labels[n] = vertical ? 1 : 0;
  }
}
