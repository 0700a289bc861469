// What data layers do to one image: cut out, mirror, take off a mean, scale.
#pragma once

#include <cstdint>

namespace pydl::kernels {

struct ImageCut {
  int64_t channels, height, width;   // of the image
  int64_t top, left, rows, columns;  // what is cut out of it
  bool flip;                         // and turned round, left to right
};

struct ImageKernels {
  // y = (x - mean) * scale; x: (channels, height, width), y: (channels, rows, columns). The mean is
  // mean_image, of x's shape, or where that is null channel_mean, (channels).
  // In one thread: images are shared out among threads.
  void (*bytes)(const ImageCut&, const uint8_t* x, const float* mean_image,
                const float* channel_mean, float scale, float* y);
  void (*floats)(const ImageCut&, const float* x, const float* mean_image,
                 const float* channel_mean, float scale, float* y);
};

const ImageKernels& image_kernels();

}  // namespace pydl::kernels
