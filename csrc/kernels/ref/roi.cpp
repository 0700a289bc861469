// The definition of roi.h: plain loops, double accumulation.
#include "kernels/roi.h"

#include <algorithm>
#include <vector>

namespace pydl::kernels::ref {

extern const RoiKernels roi;

namespace {

struct Bin {
  int64_t h0, h1, w0, w1;

  bool empty() const { return h0 >= h1 || w0 >= w1; }
  double size() const { return static_cast<double>((h1 - h0) * (w1 - w0)); }
};

Bin bin_of(const RoiShape& s, const int32_t* rows, const int32_t* columns, int64_t r, int64_t b) {
  const int32_t* h = rows + 2 * (r * s.ph + b / s.pw);
  const int32_t* w = columns + 2 * (r * s.pw + b % s.pw);
  return {h[0], h[1], w[0], w[1]};
}

void max_forward(const RoiShape& s, const int32_t* image, const int32_t* rows,
                 const int32_t* columns, const float* x, float* y, int32_t* argmax) {
  for (int64_t i = 0; i < s.rois * s.bins(); ++i) {
    const Bin bin = bin_of(s, rows, columns, i / s.bins(), i % s.bins());
    const float* plane = x + image[i / s.bins()] * s.h * s.w * s.c;
    for (int64_t c = 0; c < s.c; ++c) {
      int64_t best = bin.empty() ? -1 : bin.h0 * s.w + bin.w0;
      for (int64_t h = bin.h0; h < bin.h1; ++h) {
        for (int64_t w = bin.w0; w < bin.w1; ++w) {
          if (plane[(h * s.w + w) * s.c + c] > plane[best * s.c + c]) best = h * s.w + w;
        }
      }
      y[i * s.c + c] = best < 0 ? 0 : plane[best * s.c + c];
      if (argmax) argmax[i * s.c + c] = static_cast<int32_t>(best);
    }
  }
}

void max_backward(const RoiShape& s, const int32_t* image, const float* dy, const int32_t* argmax,
                  float* dx) {
  std::vector<double> sum(s.n * s.h * s.w * s.c);
  for (int64_t i = 0; i < s.rois * s.bins() * s.c; ++i) {
    const int64_t plane = image[i / (s.bins() * s.c)] * s.h * s.w;
    if (argmax[i] >= 0) sum[(plane + argmax[i]) * s.c + i % s.c] += dy[i];
  }
  std::copy(sum.begin(), sum.end(), dx);
}

// body(place in y, first of the plane, bin) for each output.
template <class Body>
void for_each_mean(const RoiShape& s, const int32_t* image, const int32_t* rows,
                   const int32_t* columns, const Body& body) {
  for (int64_t i = 0; i < s.rois * s.c; ++i) {
    const int64_t r = i / s.c, channel = i % s.c;  // y's axes (d, ph, pw) are x's channels
    const Bin bin = bin_of(s, rows, columns, r, channel % s.bins());
    body(i, (image[r] * s.c + channel) * s.h * s.w, bin);
  }
}

void mean_forward(const RoiShape& s, const int32_t* image, const int32_t* rows,
                  const int32_t* columns, const float* x, float* y) {
  for_each_mean(s, image, rows, columns, [&](int64_t i, int64_t plane, const Bin& bin) {
    double sum = 0;
    for (int64_t h = bin.h0; h < bin.h1; ++h) {
      for (int64_t w = bin.w0; w < bin.w1; ++w) sum += x[plane + h * s.w + w];
    }
    y[i] = bin.empty() ? 0 : static_cast<float>(sum / bin.size());
  });
}

void mean_backward(const RoiShape& s, const int32_t* image, const int32_t* rows,
                   const int32_t* columns, const float* dy, float* dx) {
  std::vector<double> sum(s.n * s.c * s.h * s.w);
  for_each_mean(s, image, rows, columns, [&](int64_t i, int64_t plane, const Bin& bin) {
    for (int64_t h = bin.h0; h < bin.h1; ++h) {
      for (int64_t w = bin.w0; w < bin.w1; ++w) sum[plane + h * s.w + w] += dy[i] / bin.size();
    }
  });
  std::copy(sum.begin(), sum.end(), dx);
}

// body(place in y, place in x, weight) for each tap, for all channels.
template <class Body>
void for_each_tap(const RoiShape& s, const int32_t* image, const int32_t* row_first,
                  const int32_t* row_at, const float* row_weight, const int32_t* column_first,
                  const int32_t* column_at, const float* column_weight, const Body& body) {
  for (int64_t i = 0; i < s.rois * s.bins(); ++i) {
    const int64_t r = i / s.bins();
    const int64_t row = r * s.ph + i % s.bins() / s.pw, column = r * s.pw + i % s.pw;
    for (int32_t k = row_first[row]; k < row_first[row + 1]; ++k) {
      for (int32_t l = column_first[column]; l < column_first[column + 1]; ++l) {
        const int64_t at = (image[r] * s.h + row_at[k]) * s.w + column_at[l];
        const double weight = static_cast<double>(row_weight[k]) * column_weight[l];
        for (int64_t c = 0; c < s.c; ++c) body(i * s.c + c, at * s.c + c, weight);
      }
    }
  }
}

void align_forward(const RoiShape& s, const int32_t* image, const int32_t* row_first,
                   const int32_t* row_at, const float* row_weight, const int32_t* column_first,
                   const int32_t* column_at, const float* column_weight, const float* x, float* y) {
  std::vector<double> sum(s.rois * s.bins() * s.c);
  for_each_tap(s, image, row_first, row_at, row_weight, column_first, column_at, column_weight,
               [&](int64_t i, int64_t at, double weight) { sum[i] += weight * x[at]; });
  std::copy(sum.begin(), sum.end(), y);
}

void align_backward(const RoiShape& s, const int32_t* image, const int32_t* row_first,
                    const int32_t* row_at, const float* row_weight, const int32_t* column_first,
                    const int32_t* column_at, const float* column_weight, const float* dy,
                    float* dx) {
  std::vector<double> sum(s.n * s.h * s.w * s.c);
  for_each_tap(s, image, row_first, row_at, row_weight, column_first, column_at, column_weight,
               [&](int64_t i, int64_t at, double weight) { sum[at] += weight * dy[i]; });
  std::copy(sum.begin(), sum.end(), dx);
}

}  // namespace

const RoiKernels roi = {max_forward,   max_backward,  mean_forward,
                        mean_backward, align_forward, align_backward};

}  // namespace pydl::kernels::ref
