#include "layers/conv_params.h"

#include "core/check.h"

namespace pydl {

namespace {

using OptionalInt = std::optional<int32_t>;

// A field that is given once for all axes, once per axis, or as _h and _w with two axes.
std::vector<int64_t> per_axis(const char* name, const std::vector<int32_t>& given, OptionalInt h,
                              OptionalInt w, int axes, OptionalInt otherwise, int least) {
  std::vector<int64_t> out;
  if (h || w) {
    check(axes == 2, name, "_h and ", name, "_w are for 2 spatial axes, but there are ", axes);
    check(given.empty(), "give either ", name, " or ", name, "_h and ", name, "_w, not both");
    out = {h.value_or(otherwise.value_or(0)), w.value_or(otherwise.value_or(0))};
  } else if (given.empty()) {
    check(otherwise.has_value() || axes == 0, name, " must be given");
    out.assign(axes, otherwise.value_or(0));
  } else {
    const int count = static_cast<int>(given.size());
    check(count == 1 || count == axes, name, " is given ", count, " times for ", axes,
          " spatial axes; give it once or once per axis");
    for (int i = 0; i < axes; ++i) out.push_back(given[count == 1 ? 0 : i]);
  }
  for (int64_t v : out) check(v >= least, name, " must be at least ", least, ", got ", v);
  return out;
}

}  // namespace

Window read_window(const ConvolutionParams& p, int axes) {
  const std::vector<int32_t>& size = p.kernel_size;
  const auto kernel = (p.kernel_h || p.kernel_w) ? "kernel" : "kernel_size";
  Window w;
  w.kernel = per_axis(kernel, size, p.kernel_h, p.kernel_w, axes, std::nullopt, 1);
  w.stride = per_axis("stride", p.stride, p.stride_h, p.stride_w, axes, 1, 1);
  w.pad = per_axis("pad", p.pad, p.pad_h, p.pad_w, axes, 0, 0);
  w.dilation = per_axis("dilation", p.dilation, std::nullopt, std::nullopt, axes, 1, 1);
  return w;
}

void check_window_fits(const Window& window, const std::vector<int64_t>& in) {
  std::vector<int64_t> extent, padded;
  bool fits = true;
  for (size_t i = 0; i < in.size(); ++i) {
    extent.push_back(window.dilation[i] * (window.kernel[i] - 1) + 1);
    padded.push_back(in[i] + 2 * window.pad[i]);
    fits = fits && extent[i] <= padded[i];
  }
  check(fits, "kernel ", shape_text(extent), " is larger than its padded input ",
        shape_text(padded));
}

}  // namespace pydl
