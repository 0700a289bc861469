// Images of bytes in another size.
#pragma once

#include <cstdint>

namespace pydl {

// Bilinear in the fixed-point arithmetic of OpenCV's cv::resize (INTER_LINEAR): pixels lie at the
// middle of their squares, and shrinking does not smooth.
// x: (height, width), rows `stride` bytes apart   y: (new_height, new_width)
void resize_bilinear(int64_t height, int64_t width, int64_t stride, const uint8_t* x,
                     int64_t new_height, int64_t new_width, uint8_t* y);

// As OpenCV's. kArea: the mean of what a pixel covers.
enum class Interpolation { kLinear = 1, kArea = 2, kNearest = 3, kCubic = 4, kLanczos4 = 5 };

void resize_bytes(Interpolation mode, int64_t height, int64_t width, int64_t stride,
                  const uint8_t* x, int64_t new_height, int64_t new_width, uint8_t* y);

}  // namespace pydl
