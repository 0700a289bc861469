// The definition of cutting out and varying images (image.h): one value at a time.
#include "kernels/image.h"

#include <algorithm>
#include <cmath>

namespace pydl::kernels::ref {

extern const ImageKernels image;

namespace {

template <class T>
void cut_out(const ImageCut& s, const T* x, const float* mean_image, const float* channel_mean,
             float scale, float* y) {
  for (int64_t i = 0; i < s.channels * s.rows * s.columns; ++i) {
    const int64_t column = i % s.columns, row = i / s.columns % s.rows;
    const int64_t c = i / (s.columns * s.rows);
    const int64_t w = s.left + (s.flip ? s.columns - 1 - column : column);
    const int64_t from = (c * s.height + s.top + row) * s.width + w;
    const float mean = mean_image ? mean_image[from] : channel_mean[c];
    y[i] = (static_cast<float>(x[from]) - mean) * scale;
  }
}

template <class T>
void pad(const ImageWarp& s, const T* x, const float* fill, float* y) {
  const int64_t rows = s.height + 2, columns = s.width + 2;
  for (int64_t i = 0; i < s.padded(); ++i) {
    const int64_t column = i % columns - 1, row = i / columns % rows - 1, c = i / (columns * rows);
    const bool inside = row >= 0 && row < s.height && column >= 0 && column < s.width;
    y[i] = inside ? static_cast<float>(x[(c * s.height + row) * s.width + column]) : fill[c];
  }
}

// Where on a padded axis of `size` pixels a place is.
double place(const ImageWarp& s, double at, int64_t size) {
  const auto n = static_cast<double>(size);
  if (s.border == ImageBorder::kReflect) {
    const double period = 2 * n, from_edge = at + 0.5;
    const double folded = from_edge - period * std::floor(from_edge / period);
    at = std::min(folded, period - folded) - 0.5;
  }
  const double rim = s.border == ImageBorder::kConstant ? 1 : 0;
  at = std::clamp(at, -rim, n - 1 + rim) + 1;
  return s.nearest ? std::nearbyint(at) : at;
}

void warp(const ImageWarp& s, const float* padded, float* y) {
  const int64_t plane = (s.height + 2) * (s.width + 2);
  const auto& m = s.matrix;
  for (int64_t i = 0; i < s.rows * s.columns; ++i) {
    const auto row = static_cast<double>(i / s.columns),
               column = static_cast<double>(i % s.columns);
    const double u = place(s, m[0] * column + m[1] * row + m[2], s.width);
    const double v = place(s, m[3] * column + m[4] * row + m[5], s.height);
    const int64_t left = std::min(static_cast<int64_t>(u), s.width);
    const int64_t top = std::min(static_cast<int64_t>(v), s.height);
    const double right = u - static_cast<double>(left), down = v - static_cast<double>(top);
    for (int64_t c = 0; c < s.channels; ++c) {
      const float* p = padded + c * plane + top * (s.width + 2) + left;
      const float* q = p + s.width + 2;
      const double above = (1 - right) * p[0] + right * p[1];
      const double below = (1 - right) * q[0] + right * q[1];
      y[c * s.rows * s.columns + i] = static_cast<float>((1 - down) * above + down * below);
    }
  }
}

void mix(int64_t channels, int64_t pixels, const float* matrix, float low, float high, float* y) {
  for (int64_t i = 0; i < pixels; ++i) {
    double sums[3];
    for (int64_t c = 0; c < channels; ++c) {
      const float* m = matrix + c * (channels + 1);
      sums[c] = m[channels];
      for (int64_t k = 0; k < channels; ++k)
        sums[c] += static_cast<double>(m[k]) * y[k * pixels + i];
    }
    for (int64_t c = 0; c < channels; ++c) {
      y[c * pixels + i] = std::clamp(static_cast<float>(sums[c]), low, high);
    }
  }
}

// y[i stride] = the sum of x[(i + k) stride] over the weights
void blur_line(int64_t n, int64_t stride, int64_t radius, const float* weights, const float* x,
               float* y) {
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t k = -radius; k <= radius; ++k) {
      sum += static_cast<double>(weights[k + radius]) *
             x[std::clamp<int64_t>(i + k, 0, n - 1) * stride];
    }
    y[i * stride] = static_cast<float>(sum);
  }
}

void blur(int64_t channels, int64_t rows, int64_t columns, int64_t radius, const float* weights,
          float* scratch, float* y) {
  for (int64_t c = 0; c < channels; ++c, y += rows * columns) {
    for (int64_t r = 0; r < rows; ++r) {
      blur_line(columns, 1, radius, weights, y + r * columns, scratch + r * columns);
    }
    for (int64_t i = 0; i < columns; ++i) {
      blur_line(rows, columns, radius, weights, scratch + i, y + i);
    }
  }
}

}  // namespace

const ImageKernels image = {
    cut_out<uint8_t>, cut_out<float>, pad<uint8_t>, pad<float>, warp, mix, blur};

}  // namespace pydl::kernels::ref
