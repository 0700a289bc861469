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

namespace {

// One axis of a resize: each new pixel is a sum of `taps` old ones.
struct Filter {
  int64_t taps = 1;
  std::vector<int64_t> at;    // (new_size, taps), within the image
  std::vector<float> weight;  // (new_size, taps)

  void Add(int64_t place, float w, int64_t size) {
    at.push_back(std::clamp<int64_t>(place, 0, size - 1));
    weight.push_back(w);
  }
};

// Keys' cubic with the slope that OpenCV gives it.
float cubic(float x) {
  constexpr float kSlope = -0.75f;
  x = std::fabs(x);
  if (x <= 1) return ((kSlope + 2) * x - (kSlope + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * kSlope - 4 * kSlope : 0;
}

float lanczos4(float x) {
  constexpr float kPi = 3.14159265f;
  if (std::fabs(x) < 1e-6f) return 1;
  return std::sin(kPi * x) * std::sin(kPi * x / 4) * 4 / (kPi * kPi * x * x);
}

// A kernel of `reach` pixels to each side around the place of the new pixel; weights add up to 1.
Filter kernel_filter(int64_t size, int64_t new_size, int64_t reach, float (*kernel)(float)) {
  Filter filter;
  filter.taps = 2 * reach;
  const double scale = static_cast<double>(size) / static_cast<double>(new_size);
  for (int64_t i = 0; i < new_size; ++i) {
    const double place = (static_cast<double>(i) + 0.5) * scale - 0.5;
    const auto first = static_cast<int64_t>(std::floor(place)) - reach + 1;
    float total = 0;
    for (int64_t k = 0; k < filter.taps; ++k) {
      filter.Add(first + k, kernel(static_cast<float>(place - static_cast<double>(first + k))),
                 size);
      total += filter.weight.back();
    }
    for (int64_t k = 0; k < filter.taps; ++k) *(filter.weight.end() - 1 - k) /= total;
  }
  return filter;
}

// The part of each old pixel that a new one covers.
Filter area_filter(int64_t size, int64_t new_size) {
  Filter filter;
  const double scale = static_cast<double>(size) / static_cast<double>(new_size);
  filter.taps = static_cast<int64_t>(std::ceil(scale)) + 1;
  for (int64_t i = 0; i < new_size; ++i) {
    const double begin = static_cast<double>(i) * scale, end = begin + scale;
    const auto first = static_cast<int64_t>(std::floor(begin));
    for (int64_t k = 0; k < filter.taps; ++k) {
      const auto pixel = static_cast<double>(first + k);
      const double covered = std::min(end, pixel + 1) - std::max(begin, pixel);
      filter.Add(first + k, static_cast<float>(std::max(0.0, covered) / scale), size);
    }
  }
  return filter;
}

// OpenCV's kArea where a side grows: pixels keep their edges and are joined within one new pixel.
Filter grown_area_filter(int64_t size, int64_t new_size) {
  Filter filter;
  filter.taps = 2;
  const double scale = static_cast<double>(size) / static_cast<double>(new_size);
  for (int64_t i = 0; i < new_size; ++i) {
    const auto place = static_cast<int64_t>(std::floor(static_cast<double>(i) * scale));
    const double beyond = static_cast<double>(i + 1) - static_cast<double>(place + 1) / scale;
    const auto part = static_cast<float>(beyond <= 0 ? 0 : beyond - std::floor(beyond));
    filter.Add(place, 1 - part, size);
    filter.Add(place + 1, part, size);
  }
  return filter;
}

Filter nearest_filter(int64_t size, int64_t new_size) {
  Filter filter;
  const double scale = static_cast<double>(size) / static_cast<double>(new_size);
  for (int64_t i = 0; i < new_size; ++i) {
    filter.Add(static_cast<int64_t>(std::floor(static_cast<double>(i) * scale)), 1, size);
  }
  return filter;
}

Filter filter_of(Interpolation mode, int64_t size, int64_t new_size, bool grows) {
  if (mode == Interpolation::kArea) {
    return grows ? grown_area_filter(size, new_size) : area_filter(size, new_size);
  }
  if (mode == Interpolation::kCubic) return kernel_filter(size, new_size, 2, cubic);
  if (mode == Interpolation::kLanczos4) return kernel_filter(size, new_size, 4, lanczos4);
  return nearest_filter(size, new_size);
}

}  // namespace

void resize_bytes(Interpolation mode, int64_t height, int64_t width, int64_t stride,
                  const uint8_t* x, int64_t new_height, int64_t new_width, uint8_t* y) {
  if (mode == Interpolation::kLinear) {
    return resize_bilinear(height, width, stride, x, new_height, new_width, y);
  }
  const bool grows = new_height > height || new_width > width;
  const Filter rows = filter_of(mode, height, new_height, grows);
  const Filter columns = filter_of(mode, width, new_width, grows);
  std::vector<float> narrowed(height * new_width);  // (height, new_width)
  for (int64_t h = 0; h < height; ++h) {
    const uint8_t* line = x + h * stride;
    for (int64_t w = 0; w < new_width; ++w) {
      const int64_t* at = columns.at.data() + w * columns.taps;
      const float* weight = columns.weight.data() + w * columns.taps;
      float sum = 0;
      for (int64_t k = 0; k < columns.taps; ++k) sum += weight[k] * line[at[k]];
      narrowed[h * new_width + w] = sum;
    }
  }
  std::vector<float> sums(new_width);
  for (int64_t h = 0; h < new_height; ++h, y += new_width) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int64_t k = h * rows.taps; k < (h + 1) * rows.taps; ++k) {
      const float* line = narrowed.data() + rows.at[k] * new_width;
      for (int64_t w = 0; w < new_width; ++w) sums[w] += rows.weight[k] * line[w];
    }
    for (int64_t w = 0; w < new_width; ++w) {
      y[w] = static_cast<uint8_t>(std::clamp(sums[w], 0.0f, 255.0f) + 0.5f);
    }
  }
}

}  // namespace pydl
