#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/check.h"

namespace pydl {

uint32_t Random::bits() {
  if (left_ == 0) {
    block_ = philox(seed_, stream_, index_++);
    left_ = static_cast<int>(block_.size());
  }
  return block_[block_.size() - static_cast<size_t>(left_--)];
}

float Random::uniform() { return static_cast<float>(bits() >> 8) * 0x1p-24f; }

// Box & Muller 1958. The second value of the pair is dropped: the state stays a counter.
float Random::gaussian() {
  const double u = (bits() + 1.0) * 0x1p-32;  // (0, 1]: its logarithm is finite
  const double v = bits() * 0x1p-32;
  return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
}

int64_t Random::below(int64_t n) {
  check(n > 0, "Random::below: n must be at least 1, not ", n);
  const uint64_t range = static_cast<uint64_t>(n);
  const uint64_t surplus = (0 - range) % range;  // 2^64 mod n: as many values would be favoured
  for (;;) {
    const uint64_t high = bits();
    const uint64_t x = high << 32 | bits();
    if (x >= surplus) return static_cast<int64_t>(x % range);
  }
}

}  // namespace pydl
