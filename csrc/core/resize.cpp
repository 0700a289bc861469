#include "core/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace pydl {

namespace {

constexpr int kBits = 11;  // of a weight

// A new pixel is (weight0 x[at] + weight1 x[next]) / 2^kBits.
struct Tap {
  int64_t at, next;
  int32_t weight0, weight1;
};

std::vector<Tap> taps(int64_t size, int64_t new_size) {
  const double scale = 1 / (static_cast<double>(new_size) / static_cast<double>(size));
  std::vector<Tap> out(new_size);
  for (int64_t i = 0; i < new_size; ++i) {
    float f = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    auto at = static_cast<int64_t>(std::floor(f));
    f -= static_cast<float>(at);
    if (at < 0) at = 0, f = 0;
    if (at >= size - 1) at = size - 1, f = 0;
    const auto weight = [](float w) { return static_cast<int32_t>(std::lrint(w * (1 << kBits))); };
    out[i] = {at, std::min(at + 1, size - 1), weight(1 - f), weight(f)};
  }
  return out;
}

void resize_row(const uint8_t* x, const std::vector<Tap>& columns, int32_t* y) {
  for (const Tap& t : columns) *y++ = x[t.at] * t.weight0 + x[t.next] * t.weight1;
}

}  // namespace

void resize_bilinear(int64_t height, int64_t width, int64_t stride, const uint8_t* x,
                     int64_t new_height, int64_t new_width, uint8_t* y) {
  const std::vector<Tap> columns = taps(width, new_width), lines = taps(height, new_height);
  std::vector<int32_t> memory(2 * new_width);
  int32_t* row[2] = {memory.data(), memory.data() + new_width};
  int64_t held[2] = {-1, -1};  // which lines of x the two rows hold
  for (int64_t i = 0; i < new_height; ++i, y += new_width) {
    const Tap& line = lines[i];
    if (held[1] == line.at) {
      std::swap(row[0], row[1]);
      std::swap(held[0], held[1]);
    }
    const int64_t wanted[2] = {line.at, line.next};
    for (int k : {0, 1}) {
      if (held[k] == wanted[k]) continue;
      resize_row(x + wanted[k] * stride, columns, row[k]);
      held[k] = wanted[k];
    }
    // Rounded as OpenCV does: the sums lose four bits, the products sixteen.
    for (int64_t j = 0; j < new_width; ++j) {
      const int32_t a = (line.weight0 * (row[0][j] >> 4)) >> 16;
      const int32_t b = (line.weight1 * (row[1][j] >> 4)) >> 16;
      y[j] = static_cast<uint8_t>((a + b + 2) >> 2);
    }
  }
}

}  // namespace pydl
