// Accum (FlowNet): images of several sizes, each interpolated between aligned corners to one size,
// behind one another as channels.

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/interp.h"
#include "kernels/scratch.h"
#include "pydl/layer.h"

namespace pydl {

struct AccumParams {
  uint32_t top_height = 0, top_width = 0, size_divisible_by = 0;
  bool have_reference = false;

  static auto fields() {
    using P = AccumParams;
    return Fields(
        "accum_param",
        Field("top_height", &P::top_height,
              "of the top, where it and top_width are above all heights and widths of bottoms; "
              "else the top is as large as the largest"),
        Field("top_width", &P::top_width, "of the top; see top_height"),
        Field("size_divisible_by", &P::size_divisible_by,
              "in the place of both: the largest sizes of bottoms, rounded up to multiples of it"),
        Field("have_reference", &P::have_reference,
              "the last bottom gives the top its height and width, and nothing else"));
  }
};

// bottoms: (N, C_i, H_i, W_i), and perhaps one whose height and width are wanted
// top: (N, sum of C_i, H, W)
class Accum final : public LayerOf<AccumParams> {
 public:
  Arity bottoms() const override { return {1, -1}; }
  bool can_propagate(int bottom) const override { return bottom < images(); }
  bool backward_reads_bottom(int) const override { return false; }
  Layouts layouts() const override { return Layouts::kChannelsLast; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(images() > 0, "have_reference takes the last bottom for its size alone; give another ",
          "bottom in front of it");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    for (size_t i = 0; i < bottom.size(); ++i) {
      const Shape& x = bottom[i]->shape();
      check(x.size() == 4 && bottom[i]->count() > 0,
            "needs bottoms of 4 axes (N, C, H, W), got shape ", shape_text(x));
      check(x[0] == bottom[0]->shape(0) || static_cast<int>(i) >= images(),
            "its bottoms must have as many images, but \"", spec_.bottom[0], "\" is ",
            shape_text(bottom[0]->shape()), " and \"", spec_.bottom[i], "\" is ", shape_text(x));
    }
    Shape shape{bottom[0]->shape(0), 0, 0, 0};
    for (int i = 0; i < images(); ++i) {
      shape[1] += bottom[i]->shape(1);
      for (int axis : {2, 3}) shape[axis] = std::max(shape[axis], bottom[i]->shape(axis));
    }
    SetSize(*bottom.back(), &shape);
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t places = Places(*top[0]), channels = top[0]->shape(1);
    float* y = top[0]->mutable_data(layout());
    for (int i = 0; i < images(); ++i) {
      const int64_t own = bottom[i]->shape(1);
      const kernels::Scratch resized(places * own);
      const float* x = bottom[i]->data(layout());
      if (!IsOfSize(*bottom[i], *top[0])) {
        kernels::interp_kernels().forward(ShapeOf(*bottom[i], *top[0]), x, resized.data());
        x = resized.data();
      }
      kernels::eltwise_kernels().copy_rows(places, own, x, own, y, channels);
      y += own;
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t places = Places(*top[0]), channels = top[0]->shape(1);
    const float* dy = top[0]->diff(layout());
    for (int i = 0; i < images(); ++i) {
      const int64_t own = bottom[i]->shape(1);
      if (down[i] != Propagate::kNo) {
        const kernels::Scratch part(places * own);
        const bool copied = IsOfSize(*bottom[i], *top[0]);
        float* dx = bottom[i]->mutable_diff(layout());
        kernels::eltwise_kernels().copy_rows(places, own, dy, channels, copied ? dx : part.data(),
                                             own);
        if (!copied) {
          kernels::interp_kernels().backward(ShapeOf(*bottom[i], *top[0]), part.data(), dx);
        }
      }
      dy += own;
    }
  }

 private:
  // Bottoms that are in the top.
  int images() const {
    return static_cast<int>(spec().bottom.size()) - (params_of().have_reference ? 1 : 0);
  }
  static int64_t Places(const Blob& blob) { return blob.shape(0) * blob.count(2); }
  static bool IsOfSize(const Blob& a, const Blob& b) {
    return a.shape(2) == b.shape(2) && a.shape(3) == b.shape(3);
  }
  static kernels::InterpShape ShapeOf(const Blob& x, const Blob& y) {
    return {x.shape(0),
            x.shape(1),
            {x.shape(2), 0, x.shape(2), y.shape(2)},
            {x.shape(3), 0, x.shape(3), y.shape(3)}};
  }

  // shape: that of the top, with the largest height and width
  void SetSize(const Blob& last, Shape* shape) const {
    const AccumParams& p = params_of();
    const int64_t multiple = p.size_divisible_by;
    int64_t height = p.top_height, width = p.top_width;
    if (multiple > 0) {
      const auto rounded = [&](int64_t size) {
        return (size + multiple - 1) / multiple * multiple;
      };
      height = rounded((*shape)[2]), width = rounded((*shape)[3]);
    }
    // As in FlowNet a size counts only if it is larger along both axes.
    const bool larger = height > (*shape)[2] && width > (*shape)[3];
    if (p.have_reference) height = last.shape(2), width = last.shape(3);
    if (p.have_reference || larger) (*shape)[2] = height, (*shape)[3] = width;
  }
};

PYDL_REGISTER_LAYER("Accum", Accum,
                    "Images of several sizes as channels of one, each resized to the largest or to "
                    "a given size by interpolation between aligned corners; FlowNet's.");

}  // namespace pydl
