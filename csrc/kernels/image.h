// What data layers do to one image: cut out, mirror, take off a mean, scale; and vary it: move,
// blur, other colours. All in one thread: images are shared out among threads.
#pragma once

#include <array>
#include <cstdint>

namespace pydl::kernels {

struct ImageCut {
  int64_t channels, height, width;   // of the image
  int64_t top, left, rows, columns;  // what is cut out of it
  bool flip;                         // and turned round, left to right
};

enum class ImageBorder { kConstant, kRepeat, kReflect };

// An affine map of an image. Pixel (row, column) of the result is seen at
//   x = matrix[0] column + matrix[1] row + matrix[2]
//   y = matrix[3] column + matrix[4] row + matrix[5]
// in pixels of the image, with (0, 0) the middle of its first pixel.
struct ImageWarp {
  int64_t channels, height, width;  // of the image
  int64_t rows, columns;            // of the result
  std::array<float, 6> matrix;
  ImageBorder border;  // around the image: the fill, its outermost pixels, or its mirror image
  bool nearest;        // one pixel, else a bilinear mean of four

  // Of the image with a frame of one pixel.
  int64_t padded() const { return channels * (height + 2) * (width + 2); }
};

struct ImageKernels {
  // y = (x - mean) * scale; x: (channels, height, width), y: (channels, rows, columns). The mean is
  // mean_image, of x's shape, or where that is null channel_mean, (channels).
  void (*bytes)(const ImageCut&, const uint8_t* x, const float* mean_image,
                const float* channel_mean, float scale, float* y);
  void (*floats)(const ImageCut&, const float* x, const float* mean_image,
                 const float* channel_mean, float scale, float* y);
  // x (channels, height, width) in a frame of its channel's fill: y (channels, height + 2, width +
  // 2). fewer than 2^31 pixels
  void (*pad_bytes)(const ImageWarp&, const uint8_t* x, const float* fill, float* y);
  void (*pad_floats)(const ImageWarp&, const float* x, const float* fill, float* y);
  // padded: as pad_bytes and pad_floats write it; y: (channels, rows, columns)
  void (*warp)(const ImageWarp&, const float* padded, float* y);
  // Each pixel's channels become a product with `matrix`, (channels, channels + 1), whose last
  // column is added, cut to low..high. y: (channels, pixels), of 1 or 3 channels
  void (*mix)(int64_t channels, int64_t pixels, const float* matrix, float low, float high,
              float* y);
  // Rows, then columns, each as its sum with those around it, of these weights, (2 radius + 1);
  // the outermost ones repeat. y: (channels, rows, columns); scratch: blur_scratch() floats
  void (*blur)(int64_t channels, int64_t rows, int64_t columns, int64_t radius,
               const float* weights, float* scratch, float* y);
};

constexpr int64_t blur_scratch(int64_t rows, int64_t columns, int64_t radius) {
  return rows * columns + columns + 2 * radius;
}

const ImageKernels& image_kernels();

}  // namespace pydl::kernels
