// MultinomialLogisticLoss: -log of the true class's probability, averaged over the batch.

#include <algorithm>

#include "kernels/eltwise.h"
#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: probabilities (N, ...), whose axes after the first together are the classes; labels (N)
// top: the loss, a scalar
class MultinomialLogisticLoss final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check_row_labels(*bottom[0], *bottom[1]);
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t rows = bottom[0]->shape(0), classes = bottom[0]->count(1);
    check_labels(*bottom[1], classes, {});
    int64_t valid = 0;
    const double loss =
        kernels::softmax_kernels().loss({rows, classes, 1}, bottom[0]->data(), bottom[1]->data(),
                                        false, 0, kLeastProbability, &valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / mean_divisor(rows));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const int64_t rows = bottom[0]->shape(0), classes = bottom[0]->count(1);
    check_labels(*bottom[1], classes, {});
    const auto scale = static_cast<float>(-top[0]->diff()[0] / mean_divisor(rows));
    const float *p = bottom[0]->data(), *label = bottom[1]->data();
    float* dp = bottom[0]->mutable_diff();
    kernels::eltwise_kernels().fill(rows * classes, 0, dp);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = r * classes + static_cast<int64_t>(label[r]);
      dp[i] = scale / std::max(p[i], kLeastProbability);
    }
  }
};

PYDL_REGISTER_LAYER("MultinomialLogisticLoss", MultinomialLogisticLoss,
                    "Cross entropy of probabilities with integer labels. SoftmaxWithLoss takes "
                    "scores instead, and is more accurate.");

}  // namespace pydl
