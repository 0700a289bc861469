// The definition of pooling (pool.h): plain loops over windows.
#include "kernels/pool.h"

#include <algorithm>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const PoolKernels pool;

namespace {

struct Window {
  int64_t begin, end;  // within the input
  int64_t size;        // within the input and its padding
};

Window window(int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t in) {
  const int64_t begin = out * stride - pad;
  const int64_t end = std::min(begin + kernel, in + pad);
  return {std::max<int64_t>(begin, 0), std::min(end, in), end - begin};
}

// body(index in y, where the plane starts in x, stride of its positions, rows, columns)
template <class Body>
void for_each_window(const PoolShape& s, const Body& body) {
  const int64_t step = s.channels_last ? s.c : 1;
  for (int64_t n = 0; n < s.n; ++n) {
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t x = s.channels_last ? n * s.h * s.w * s.c + c : (n * s.c + c) * s.h * s.w;
      const int64_t y = s.channels_last ? n * s.oh * s.ow * s.c + c : (n * s.c + c) * s.oh * s.ow;
      for (int64_t oh = 0; oh < s.oh; ++oh) {
        for (int64_t ow = 0; ow < s.ow; ++ow) {
          body(y + (oh * s.ow + ow) * step, x, step,
               window(oh, s.kernel_h, s.stride_h, s.pad_h, s.h),
               window(ow, s.kernel_w, s.stride_w, s.pad_w, s.w));
        }
      }
    }
  }
}

template <class T>
void max_forward(const PoolShape& s, const T* x, T* y, int32_t* mask) {
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, Window rows, Window columns) {
    float best = 0;
    int64_t index = -1;
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const float value = x[plane + (h * s.w + w) * step];
        if (index >= 0 && !(value > best)) continue;
        best = value;
        index = h * s.w + w;
      }
    }
    y[out] = best;
    if (mask) mask[out] = static_cast<int32_t>(index);
  });
}

template <class T>
void max_backward(const PoolShape& s, const T* dy, const int32_t* mask, T* dx) {
  std::vector<double> sum(static_cast<size_t>(s.n * s.c * s.h * s.w));
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, Window, Window) {
    if (mask[out] >= 0) sum[static_cast<size_t>(plane + mask[out] * step)] += dy[out];
  });
  for (size_t i = 0; i < sum.size(); ++i) dx[i] = static_cast<float>(sum[i]);
}

template <class T>
void ave_forward(const PoolShape& s, const T* x, T* y) {
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, Window rows, Window columns) {
    double sum = 0;
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) sum += x[plane + (h * s.w + w) * step];
    }
    const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
    y[out] = empty ? 0 : static_cast<float>(sum / static_cast<double>(rows.size * columns.size));
  });
}

template <class T>
void ave_backward(const PoolShape& s, const T* dy, T* dx) {
  std::vector<double> sum(static_cast<size_t>(s.n * s.c * s.h * s.w));
  for_each_window(s, [&](int64_t out, int64_t plane, int64_t step, Window rows, Window columns) {
    const double part = dy[out] / static_cast<double>(rows.size * columns.size);
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        sum[static_cast<size_t>(plane + (h * s.w + w) * step)] += part;
      }
    }
  });
  for (size_t i = 0; i < sum.size(); ++i) dx[i] = static_cast<float>(sum[i]);
}

}  // namespace

const PoolKernels pool = {PYDL_TYPED(max_forward), PYDL_TYPED(max_backward),
                          PYDL_TYPED(ave_forward), PYDL_TYPED(ave_backward)};

}  // namespace pydl::kernels::ref
