// Interp (DeepLab, PSPNet): bilinear resizing between aligned corners, of the whole or of a part.

#include "kernels/interp.h"

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

struct InterpParams {
  std::optional<int32_t> height, width, zoom_factor, shrink_factor;
  int32_t pad_beg = 0, pad_end = 0;

  static auto fields() {
    using P = InterpParams;
    return Fields(
        "interp_param", Field("height", &P::height, "of the top; goes with width"),
        Field("width", &P::width, "of the top; goes with height"),
        Field("zoom_factor", &P::zoom_factor, "n pixels become n + (n - 1) (zoom - 1)", 1),
        Field("shrink_factor", &P::shrink_factor,
              "n pixels become (n - 1) / shrink + 1, before zoom_factor", 1),
        Field("pad_beg", &P::pad_beg,
              "0, or minus the rows and columns to leave out at the top and the left"),
        Field("pad_end", &P::pad_end,
              "0, or minus those to leave out at the bottom and the right"));
  }
};

// bottoms: (N, C, H, W), and perhaps one whose height and width are wanted   top: (N, C, h, w)
class Interp final : public LayerOf<InterpParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int) const override { return false; }
  Layouts layouts() const override { return Layouts::kChannelsLast; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const InterpParams& p = params_of();
    check(p.pad_beg <= 0 && p.pad_end <= 0, "pad_beg ", p.pad_beg, " and pad_end ", p.pad_end,
          " can only cut off (0 or less); pad with a Convolution or Pooling layer");
    check(p.height.has_value() == p.width.has_value(), "height and width go together, but only ",
          p.height ? "height" : "width", " is given");
    for (const auto& size : {p.height, p.width, p.zoom_factor, p.shrink_factor}) {
      check(size.value_or(1) >= 1, "height, width, zoom_factor and shrink_factor must be at least ",
            "1, got ", size.value_or(1));
    }
    check(bottom.size() > 1 || p.height || p.zoom_factor || p.shrink_factor,
          "needs to know the size of its top: give height and width, zoom_factor, shrink_factor, ",
          "or a second bottom of that size");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    for (const Blob* blob : bottom) {
      check(blob->axes() == 4, "needs bottoms of 4 axes (N, C, H, W), got shape ",
            shape_text(blob->shape()));
    }
    shape_ = {x.shape(0), x.shape(1), axis(bottom, 2, params_of().height),
              axis(bottom, 3, params_of().width)};
    top[0]->Reshape({x.shape(0), x.shape(1), shape_.h.out, shape_.w.out});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::interp_kernels().forward(shape_, bottom[0]->data(format()),
                                      top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::interp_kernels().backward(shape_, top[0]->diff(format()),
                                       bottom[0]->mutable_diff(format()));
  }

 private:
  kernels::InterpAxis axis(const Blobs& bottom, int axis, std::optional<int32_t> wanted) const {
    const InterpParams& p = params_of();
    const int64_t size = bottom[0]->shape(axis), in = size + p.pad_beg + p.pad_end;
    check(in > 0, "pad_beg ", p.pad_beg, " and pad_end ", p.pad_end,
          " leave nothing of its bottom ", shape_text(bottom[0]->shape()));
    const int64_t out = bottom.size() > 1 ? bottom[1]->shape(axis) : out_size(in, wanted);
    check(out > 0, "its second bottom, whose size is wanted, has no pixels: ",
          shape_text(bottom.back()->shape()));
    return {size, -p.pad_beg, in, out};
  }

  // By the first rule that applies.
  int64_t out_size(int64_t in, std::optional<int32_t> wanted) const {
    const InterpParams& p = params_of();
    const auto shrunk = [&](int64_t n) { return (n - 1) / *p.shrink_factor + 1; };
    const auto zoomed = [&](int64_t n) { return shape_count({n - 1, *p.zoom_factor}) + 1; };
    if (p.shrink_factor && !p.zoom_factor) return shrunk(in);
    if (p.zoom_factor && !p.shrink_factor) return zoomed(in);
    return wanted ? *wanted : zoomed(shrunk(in));
  }

  kernels::InterpShape shape_{};
};

PYDL_REGISTER_LAYER("Interp", Interp,
                    "Bilinear resizing in which corners stay corners, to a given size, that of a "
                    "second bottom, or by a factor (DeepLab, PSPNet).");

}  // namespace pydl
