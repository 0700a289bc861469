// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// Counter-based: block i of stream s under a seed is a pure function of (seed, s, i), so that any
// thread can produce any part of a sequence and a resumed run needs only the counters.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace pydl {

using PhiloxBlock = std::array<uint32_t, 4>;

inline PhiloxBlock philox(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// A sequential generator over one stream, for fillers and data order. Not for parallel loops.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  uint32_t bits();
  float uniform();           // [0, 1), 24 bits
  float gaussian();          // mean 0, deviation 1 (Box-Muller)
  int64_t below(int64_t n);  // 0 <= result < n, unbiased
 private:
  uint64_t seed_, stream_, index_ = 0;
  PhiloxBlock block_{};
  int left_ = 0;
};

// A stream number from a name, so that layers get independent streams (FNV-1a).
constexpr uint64_t stream_of(std::string_view name) {
  uint64_t h = 0xCBF29CE484222325ull;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return h;
}

}  // namespace pydl
