// Gram: the products of all pairs of channels of an image, summed over its positions: its style
// (Gatys et al. 2016). With EuclideanLoss or SmoothL1Loss it makes the loss of style transfer.

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "pydl/layer.h"

namespace pydl {

struct GramParams {
  bool normalize = true;

  static auto fields() {
    return Fields("gram_param",
                  Field("normalize", &GramParams::normalize,
                        "divide by the number of values of an image (Johnson et al. 2016)"));
  }
};

// bottom: F (N, C, ...)   top: F F^T (N, C, C)
class Gram final : public LayerOf<GramParams> {
 public:
  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() >= 2, "needs images (N, C, ...), but its bottom is ", shape_text(x.shape()));
    channels_ = x.shape(1), positions_ = x.count(2);
    top[0]->Reshape({x.shape(0), channels_, channels_});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::GemmShape shape{channels_, channels_, positions_};
    shape.trans_b = true;
    float* y = top[0]->mutable_data();
    for (int64_t i = 0; i < bottom[0]->shape(0); ++i) {
      const float* x = bottom[0]->data() + i * channels_ * positions_;
      kernels::gemm_kernels().gemm(shape, x, x, {}, y + i * channels_ * channels_);
    }
    kernels::eltwise_kernels().scale(top[0]->count(), factor(), y, y);
  }

  // dF = (dG + dG^T) F
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const kernels::GemmShape shape{channels_, positions_, channels_};
    std::vector<float> both(channels_ * channels_);
    float* dx = bottom[0]->mutable_diff();
    for (int64_t i = 0; i < bottom[0]->shape(0); ++i) {
      const float* dy = top[0]->diff() + i * channels_ * channels_;
      for (int64_t r = 0; r < channels_; ++r) {
        for (int64_t c = 0; c < channels_; ++c) {
          both[r * channels_ + c] = factor() * (dy[r * channels_ + c] + dy[c * channels_ + r]);
        }
      }
      const int64_t at = i * channels_ * positions_;
      kernels::gemm_kernels().gemm(shape, both.data(), bottom[0]->data() + at, {}, dx + at);
    }
  }

  double flops(const Blobs& bottom, const Blobs&) const override {
    return 2.0 * static_cast<double>(bottom[0]->count()) * static_cast<double>(channels_);
  }

 private:
  float factor() const {
    const int64_t size = channels_ * positions_;
    return params_of().normalize && size > 0 ? 1 / static_cast<float>(size) : 1;
  }

  int64_t channels_ = 0, positions_ = 0;
};

PYDL_REGISTER_LAYER(
    "Gram", Gram, "Gram matrices (N, C, C) of the channels of images, over the size of an image.");

}  // namespace pydl
