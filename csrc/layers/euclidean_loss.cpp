// EuclideanLoss: half the squared difference of two blobs, averaged over the batch.

#include "core/check.h"
#include "kernels/loss.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: (N, ...), and as many values per row; both can get a gradient
// top: the loss, a scalar
class EuclideanLoss final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool is_loss() const override { return true; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &a = *bottom[0], &b = *bottom[1];
    const bool match =
        a.axes() >= 1 && b.axes() >= 1 && a.shape(0) == b.shape(0) && a.count(1) == b.count(1);
    check(match, "compares two blobs of as many rows (axis 0) of as many values, got ",
          shape_text(a.shape()), " and ", shape_text(b.shape()));
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    double sum = 0;
    kernels::loss_kernels().squared_distances(1, bottom[0]->count(), bottom[0]->data(),
                                              bottom[1]->data(), &sum);
    top[0]->mutable_data()[0] = static_cast<float>(sum / mean_divisor(bottom[0]->shape(0)) / 2);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto scale = static_cast<float>(top[0]->diff()[0] / mean_divisor(bottom[0]->shape(0)));
    for (int i = 0; i < 2; ++i) {
      if (down[i] == Propagate::kNo) continue;
      kernels::loss_kernels().scaled_differences(1, bottom[0]->count(), &scale, bottom[i]->data(),
                                                 bottom[1 - i]->data(), bottom[i]->mutable_diff());
    }
  }
};

PYDL_REGISTER_LAYER("EuclideanLoss", EuclideanLoss,
                    "Sum of squared differences of two blobs, over twice the batch size.");

}  // namespace pydl
