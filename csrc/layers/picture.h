// Pictures of bytes, and what is done to them before a net sees them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/random.h"
#include "layers/picture_params.h"
#include "pydl/data.h"

namespace pydl {

struct Picture {
  int64_t channels = 0, height = 0, width = 0;
  std::vector<uint8_t> bytes;  // (C, H, W), blue first

  Picture() = default;
  Picture(int64_t c, int64_t h, int64_t w) : channels(c), height(h), width(w), bytes(c * h * w) {}
  // Throws pydl::Error for a record that is no picture of bytes.
  explicit Picture(const Record& record);

  uint8_t* plane(int64_t c) { return bytes.data() + c * height * width; }
  const uint8_t* plane(int64_t c) const { return bytes.data() + c * height * width; }
};

// A random number from low to high.
float draw(float low, float high, Random* random);

// Brightness, contrast, saturation, hue and order of the channels, each by its probability.
void distort(const DistortionParams& params, Random* random, Picture* picture);

// The part from (top, left) on.
Picture cut(const Picture& picture, int64_t top, int64_t left, int64_t height, int64_t width);

// A canvas of a value per channel with the picture at (top, left).
Picture put_on_canvas(const Picture& picture, int64_t height, int64_t width, int64_t top,
                      int64_t left, const std::vector<float>& values);

// Of a picture of `height` x `width` pixels: its size on its own, and that with padding around it.
struct ResizePlan {
  int64_t height, width;
  int64_t canvas_height, canvas_width, top, left;
};
ResizePlan plan_resize(const ResizeParams& params, int64_t height, int64_t width);
Picture resize_picture(const ResizeParams& params, const Picture& picture, Random* random);

void add_noise(const NoiseParams& params, Random* random, Picture* picture);

// Throw pydl::Error for what makes no sense, or is not supported.
void check_params(const DistortionParams& params);
void check_params(const ExpansionParams& params);
void check_params(const ResizeParams& params);
void check_params(const NoiseParams& params);

}  // namespace pydl
