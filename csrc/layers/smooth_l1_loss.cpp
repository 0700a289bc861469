// SmoothL1Loss: half the square of small differences, the size of large ones (Girshick 2015, "Fast
// R-CNN", arXiv:1504.08083), summed and averaged over the batch.
//
// SSD's form has two bottoms; Fast R-CNN's has sigma, and weights inside and outside of the
// function. All are one formula (kernels/loss.h).

#include "core/check.h"
#include "kernels/loss.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

struct SmoothL1LossParams {
  float sigma = 1;

  static auto fields() {
    return Fields("smooth_l1_loss_param",
                  Field("sigma", &SmoothL1LossParams::sigma,
                        "differences from 1 / sigma^2 on count by their size"));
  }
};

// bottoms: two blobs (N, ...), which both can get a gradient, and as many weights of the
// differences, and as many of what they cost
// top: the loss, a scalar
class SmoothL1Loss final : public LayerOf<SmoothL1LossParams> {
 public:
  Arity bottoms() const override { return {2, 4}; }
  bool is_loss() const override { return true; }
  bool can_propagate(int bottom) const override { return bottom < 2; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().sigma > 0, "sigma must be positive, got ", params_of().sigma);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& a = *bottom[0];
    for (size_t i = 1; i < bottom.size(); ++i) {
      const Blob& b = *bottom[i];
      check(a.axes() >= 1 && b.axes() >= 1 && a.shape(0) == b.shape(0) && a.count() == b.count(),
            "bottom \"", spec_.bottom[i], "\" must have as many rows (axis 0) of as many values as",
            " the first, ", shape_text(a.shape()), ", but is ", shape_text(b.shape()));
    }
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const double sum = kernels::loss_kernels().smooth_l1(bottom[0]->count(), bottom[0]->data(),
                                                         bottom[1]->data(), Weights(bottom, 2),
                                                         Weights(bottom, 3), params_of().sigma);
    top[0]->mutable_data()[0] = static_cast<float>(sum / mean_divisor(bottom[0]->shape(0)));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto scale = static_cast<float>(top[0]->diff()[0] / mean_divisor(bottom[0]->shape(0)));
    for (int i = 0; i < 2; ++i) {
      if (down[i] == Propagate::kNo) continue;
      kernels::loss_kernels().smooth_l1_backward(
          bottom[0]->count(), bottom[i]->data(), bottom[1 - i]->data(), Weights(bottom, 2),
          Weights(bottom, 3), params_of().sigma, scale, bottom[i]->mutable_diff());
    }
  }

 private:
  static const float* Weights(const Blobs& bottom, size_t i) {
    return i < bottom.size() ? bottom[i]->data() : nullptr;
  }
};

PYDL_REGISTER_LAYER("SmoothL1Loss", SmoothL1Loss,
                    "Squares of small differences of two blobs and the sizes of large ones, over "
                    "the batch size; weighted by a third and fourth bottom.");

}  // namespace pydl
