// Row by row of the outputs: what a row meets is a row of the image, in one piece where the stride
// is 1. It is memory that limits this, so there is one build for all instruction sets.
#include "kernels/im2col.h"

#include <algorithm>

#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace pydl::kernels {

namespace ref {
extern const Im2colKernels im2col;
}

namespace {

// An axis at one of its taps.
struct Tap {
  int64_t in, out, stride, first;  // output o meets position first + o stride
  int64_t in_step, out_step;       // elements between positions, between outputs

  // The outputs [begin, end) meet the image, those before and after them the padding.
  int64_t begin() const { return std::min(first < 0 ? (stride - 1 - first) / stride : 0, out); }
  int64_t end() const {
    return std::max(first < in ? std::min((in - 1 - first) / stride + 1, out) : 0, begin());
  }
};
using Taps = std::vector<Tap>;

int64_t in_count(const Im2colShape& s) {
  int64_t n = 1;
  for (const Im2colAxis& a : s.axis) n *= a.in;
  return n;
}
int64_t out_count(const Im2colShape& s) {
  int64_t n = 1;
  for (const Im2colAxis& a : s.axis) n *= a.out;
  return n;
}
int64_t kernel_count(const Im2colShape& s) {
  int64_t n = 1;
  for (const Im2colAxis& a : s.axis) n *= a.kernel;
  return n;
}

Taps taps_at(const Im2colShape& s, int64_t k) {
  Taps taps(s.axis.size());
  int64_t in_step = 1, out_step = 1;
  for (size_t i = s.axis.size(); i-- > 0;) {
    const Im2colAxis& a = s.axis[i];
    taps[i] = {a.in, a.out, a.stride, k % a.kernel * a.dilation - a.pad, in_step, out_step};
    k /= a.kernel;
    in_step *= a.in;
    out_step *= a.out;
  }
  return taps;
}

void copy_row(const Tap& t, const float* x, float* columns) {
  const int64_t begin = t.begin(), end = t.end();
  std::fill(columns, columns + begin, 0.0f);
  const float* from = x + t.first;
  if (t.stride == 1) {
    std::copy(from + begin, from + end, columns + begin);
  } else {
    for (int64_t o = begin; o < end; ++o) columns[o] = from[o * t.stride];
  }
  std::fill(columns + end, columns + t.out, 0.0f);
}

void add_row(const Tap& t, const float* columns, float* x) {
  const int64_t begin = t.begin(), end = t.end();
  float* to = x + t.first;
  if (t.stride == 1) {
    for (int64_t o = begin; o < end; ++o) to[o] += columns[o];
  } else {
    for (int64_t o = begin; o < end; ++o) to[o * t.stride] += columns[o];
  }
}

void copy_axes(const Taps& taps, size_t axis, const float* x, float* columns) {
  const Tap& t = taps[axis];
  if (axis + 1 == taps.size()) return copy_row(t, x, columns);
  const int64_t begin = t.begin(), end = t.end(), step = t.out_step;
  std::fill(columns, columns + begin * step, 0.0f);
  for (int64_t o = begin; o < end; ++o) {
    copy_axes(taps, axis + 1, x + (t.first + o * t.stride) * t.in_step, columns + o * step);
  }
  std::fill(columns + end * step, columns + t.out * step, 0.0f);
}

void add_axes(const Taps& taps, size_t axis, const float* columns, float* x) {
  const Tap& t = taps[axis];
  if (axis + 1 == taps.size()) return add_row(t, columns, x);
  for (int64_t o = t.begin(); o < t.end(); ++o) {
    add_axes(taps, axis + 1, columns + o * t.out_step, x + (t.first + o * t.stride) * t.in_step);
  }
}

constexpr int64_t kGrain = 16384;  // floats worth a thread

int64_t grain_of(int64_t floats) {
  return std::max<int64_t>(kGrain / std::max<int64_t>(floats, 1), 1);
}

void im2col_rows(const Im2colShape& s, const float* x, float* columns) {
  const int64_t in = in_count(s), out = out_count(s), kernels = kernel_count(s);
  parallel_for(s.planes * kernels, grain_of(out), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      copy_axes(taps_at(s, i % kernels), 0, x + i / kernels * in, columns + i * out);
    }
  });
}

void col2im_rows(const Im2colShape& s, const float* columns, float* x) {
  const int64_t in = in_count(s), out = out_count(s), kernels = kernel_count(s);
  parallel_for(s.planes, grain_of(out * kernels), [&](int64_t begin, int64_t end) {
    std::fill(x + begin * in, x + end * in, 0.0f);
    for (int64_t i = begin * kernels; i < end * kernels; ++i) {
      add_axes(taps_at(s, i % kernels), 0, columns + i * out, x + i / kernels * in);
    }
  });
}

constexpr Im2colKernels kByRows = {im2col_rows, col2im_rows};

}  // namespace

const Im2colKernels& im2col_kernels() { return isa() == Isa::kRef ? ref::im2col : kByRows; }

}  // namespace pydl::kernels
