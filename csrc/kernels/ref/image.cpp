// The definition of cutting out images (image.h): one value at a time.
#include "kernels/image.h"

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

}  // namespace

const ImageKernels image = {cut_out<uint8_t>, cut_out<float>};

}  // namespace pydl::kernels::ref
