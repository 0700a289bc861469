// TotalVariationLoss: how much neighbouring pixels differ (Rudin, Osher & Fatemi 1992), to keep
// generated images smooth.

#include "core/check.h"
#include "kernels/loss.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

struct TotalVariationLossParams {
  int32_t power = 1;

  static auto fields() {
    return Fields("total_variation_loss_param",
                  Field("power", &TotalVariationLossParams::power,
                        "1: sizes of the differences of neighbours along both axes; 2: squares"));
  }
};

// bottom: (N, ..., H, W)   top: the loss, a scalar
class TotalVariationLoss final : public LayerOf<TotalVariationLossParams, LossParams> {
 public:
  bool is_loss() const override { return true; }

  void SetUp(const Blobs&, const Blobs&) override {
    const int32_t power = params_of().power;
    check(power == 1 || power == 2, "power must be 1 or 2, got ", power);
    check(!params_of<LossParams>().ignore_label, "ignore_label is for losses over labels");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(bottom[0]->axes() >= 3, "needs images (N, ..., height, width), but its bottom is ",
          shape_text(bottom[0]->shape()));
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const Normalization mode = params_of<LossParams>().mode(Normalization::kBatchSize);
    normalizer_ = normalizer(mode, x.shape(0), x.count(1), x.count());
    const double sum =
        kernels::loss_kernels().variation(planes(x), x.shape(-2), x.shape(-1), x.data(), squared());
    top[0]->mutable_data()[0] = static_cast<float>(sum / normalizer_);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    Blob& x = *bottom[0];
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    kernels::loss_kernels().variation_backward(planes(x), x.shape(-2), x.shape(-1), x.data(),
                                               squared(), scale, x.mutable_diff());
  }

 private:
  bool squared() const { return params_of().power == 2; }
  static int64_t planes(const Blob& x) { return x.count(0, x.axes() - 2); }

  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("TotalVariationLoss", TotalVariationLoss,
                    "Sum of the sizes, or squares, of the differences of neighbouring pixels, over "
                    "the batch size.");

}  // namespace pydl
