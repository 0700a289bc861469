// Correlation: how well each place of one image matches its neighbourhood in another one
// (FlowNet; Dosovitskiy et al. 2015, arXiv:1504.06852).

#include "core/check.h"
#include "kernels/cost_volume.h"
#include "pydl/layer.h"

namespace pydl {

enum class CorrelationType { kMultiply = 0, kSubtract = 1 };
constexpr std::array<EnumName, 2> enum_names(CorrelationType) {
  return {{{"MULTIPLY", 0}, {"SUBTRACT", 1}}};
}

struct CorrelationParams {
  uint32_t pad = 0, kernel_size = 0, max_displacement = 0, stride_1 = 1, stride_2 = 1;
  bool do_abs = false;
  CorrelationType correlation_type = CorrelationType::kMultiply;

  static auto fields() {
    using P = CorrelationParams;
    return Fields(
        "correlation_param", Field("pad", &P::pad, "zeros around both images"),
        Field("kernel_size", &P::kernel_size, "height and width of the patches, odd; required"),
        Field("max_displacement", &P::max_displacement, "farthest that patches are compared"),
        Field("stride_1", &P::stride_1, "from place to place"),
        Field("stride_2", &P::stride_2, "from displacement to displacement"),
        Field("do_abs", &P::do_abs, "accepted, without effect as in FlowNet"),
        Field("correlation_type", &P::correlation_type,
              "MULTIPLY, or SUBTRACT for the mean absolute difference"));
  }
};

// bottoms: two images (N, C, H, W)
// top: (N, D D, H', W'), D = 2 floor(max_displacement / stride_2) + 1 displacements each way
class Correlation final : public LayerOf<CorrelationParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Layouts layouts() const override { return Layouts::kChannelsLast; }

  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check(p.kernel_size % 2 == 1, "correlation_param.kernel_size must be given and odd, got ",
          p.kernel_size);
    check(p.stride_1 > 0 && p.stride_2 > 0, "stride_1 ", p.stride_1, " and stride_2 ", p.stride_2,
          " must be positive");
    constexpr int64_t kMost = 1 << 12;
    check(p.max_displacement / p.stride_2 <= kMost && p.kernel_size <= kMost, "max_displacement ",
          p.max_displacement, " of stride_2 ", p.stride_2, ", and kernel_size ", p.kernel_size,
          ": more than ", kMost, " pixels each way are not compared");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &a = *bottom[0], &b = *bottom[1];
    check(a.axes() == 4 && a.shape() == b.shape(),
          "compares two blobs of one shape, N x C x H x W,", " got ", shape_text(a.shape()),
          " and ", shape_text(b.shape()));
    const auto& p = params_of();
    shape_ = {
        a.shape(0), a.shape(1), a.shape(2),    a.shape(3),
        0,          0,          p.kernel_size, p.max_displacement,
        p.pad,      p.stride_1, p.stride_2,    p.correlation_type == CorrelationType::kSubtract};
    shape_.out_h = Places(shape_.h), shape_.out_w = Places(shape_.w);
    top[0]->Reshape({shape_.n, shape_.displacements(), shape_.out_h, shape_.out_w});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::cost_volume_kernels().forward(shape_, bottom[0]->data(layout()),
                                           bottom[1]->data(layout()),
                                           top[0]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto& kernels = kernels::cost_volume_kernels();
    const float *a = bottom[0]->data(layout()), *b = bottom[1]->data(layout());
    const float* dy = top[0]->diff(layout());
    if (down[0] != Propagate::kNo) {
      kernels.backward_a(shape_, a, b, dy, bottom[0]->mutable_diff(layout()));
    }
    if (down[1] != Propagate::kNo) {
      kernels.backward_b(shape_, a, b, dy, bottom[1]->mutable_diff(layout()));
    }
  }

  double flops(const Blobs&, const Blobs& top) const override {
    return 2.0 * static_cast<double>(top[0]->count()) * shape_.patch_size();
  }

 private:
  // Places along an axis of `size` pixels.
  int64_t Places(int64_t size) const {
    const int64_t border = shape_.max_displacement + shape_.kernel / 2;
    const int64_t inner = size + 2 * shape_.pad - 2 * border;
    check(inner > 0, "nothing is left to compare: ", size, " pixels, with pad ", shape_.pad,
          " on both sides, less max_displacement ", shape_.max_displacement, " and half a kernel ",
          shape_.kernel, " on both sides; make pad larger");
    return (inner + shape_.stride1 - 1) / shape_.stride1;
  }

  kernels::CostVolumeShape shape_{};
};

PYDL_REGISTER_LAYER("Correlation", Correlation,
                    "How well each place of one image matches its neighbourhood in another one: a "
                    "channel for each displacement, with the mean product (or absolute "
                    "difference) of the patches there.");

}  // namespace pydl
