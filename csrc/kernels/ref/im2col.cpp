// The definition of im2col.h: plain loops, double accumulation.
#include "kernels/im2col.h"

namespace pydl::kernels::ref {

extern const Im2colKernels im2col;

namespace {

// body(index in columns, index in x or -1 in the padding)
template <class Body>
void for_each_element(const Im2colShape& s, const Body& body) {
  int64_t in = 1, columns = 1;
  for (const Im2colAxis& a : s.axis) in *= a.in, columns *= a.kernel * a.out;
  for (int64_t i = 0; i < s.planes * columns; ++i) {
    int64_t rest = i % columns, step = 1, position = 0;
    bool inside = true;
    std::vector<int64_t> out(s.axis.size());
    for (size_t a = s.axis.size(); a-- > 0;) {
      out[a] = rest % s.axis[a].out;
      rest /= s.axis[a].out;
    }
    for (size_t a = s.axis.size(); a-- > 0;) {
      const Im2colAxis& axis = s.axis[a];
      const int64_t at = out[a] * axis.stride - axis.pad + rest % axis.kernel * axis.dilation;
      rest /= axis.kernel;
      inside = inside && at >= 0 && at < axis.in;
      position += at * step;
      step *= axis.in;
    }
    body(i, inside ? i / columns * in + position : -1);
  }
}

void to_columns(const Im2colShape& s, const float* x, float* columns) {
  for_each_element(s, [&](int64_t i, int64_t at) { columns[i] = at < 0 ? 0 : x[at]; });
}

void from_columns(const Im2colShape& s, const float* columns, float* x) {
  int64_t count = s.planes;
  for (const Im2colAxis& a : s.axis) count *= a.in;
  std::vector<double> sum(static_cast<size_t>(count));
  for_each_element(s, [&](int64_t i, int64_t at) {
    if (at >= 0) sum[static_cast<size_t>(at)] += columns[i];
  });
  for (int64_t i = 0; i < count; ++i) x[i] = static_cast<float>(sum[static_cast<size_t>(i)]);
}

}  // namespace

const Im2colKernels im2col = {to_columns, from_columns};

}  // namespace pydl::kernels::ref
