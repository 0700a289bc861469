#include "layers/conv_params.h"

#include "core/check.h"
#include "layers/per_axis.h"

namespace pydl {

Window read_window(const ConvolutionParams& p, int axes) {
  const auto kernel = (p.kernel_h || p.kernel_w) ? "kernel" : "kernel_size";
  const PerAxis hole{"hole", p.hole, p.hole_h, p.hole_w};
  check(p.dilation.empty() || !hole.is_given(), "give either dilation or hole, not both");
  Window w;
  w.kernel = PerAxis{kernel, p.kernel_size, p.kernel_h, p.kernel_w, p.kernel_depth}.read(
      axes, std::nullopt, 1);
  w.stride =
      PerAxis{"stride", p.stride, p.stride_h, p.stride_w, p.temporal_stride}.read(axes, 1, 1);
  w.pad = PerAxis{"pad", p.pad, p.pad_h, p.pad_w, p.temporal_pad}.read(axes, 0, 0);
  w.dilation = (hole.is_given() ? hole : PerAxis{"dilation", p.dilation, {}, {}}).read(axes, 1, 1);
  return w;
}

void check_window_fits(const Window& window, const std::vector<int64_t>& in) {
  std::vector<int64_t> padded;
  bool fits = true;
  const std::vector<int64_t> extent = window.extent();
  for (size_t i = 0; i < in.size(); ++i) {
    padded.push_back(in[i] + 2 * window.pad[i]);
    fits = fits && extent[i] <= padded[i];
  }
  check(fits, "kernel ", shape_text(extent), " is larger than its padded input ",
        shape_text(padded));
}

std::vector<int64_t> Window::extent() const {
  std::vector<int64_t> out;
  for (size_t i = 0; i < kernel.size(); ++i) out.push_back(dilation[i] * (kernel[i] - 1) + 1);
  return out;
}

std::vector<int64_t> Window::counts(const std::vector<int64_t>& in) const {
  const std::vector<int64_t> size = extent();
  std::vector<int64_t> out;
  for (size_t i = 0; i < in.size(); ++i) {
    out.push_back((in[i] + 2 * pad[i] - size[i]) / stride[i] + 1);
  }
  return out;
}

}  // namespace pydl
