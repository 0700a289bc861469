// HingeLoss: one against all, for linear support vector machines: per row the sum over the classes
// of max(0, 1 - t x), where t is 1 for the true class and -1 for the others; or of its square.

#include "kernels/loss.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

enum class HingeNorm { kL1 = 1, kL2 = 2 };
constexpr std::array<EnumName, 2> enum_names(HingeNorm) { return {{{"L1", 1}, {"L2", 2}}}; }

struct HingeLossParams {
  HingeNorm norm = HingeNorm::kL1;

  static auto fields() {
    return Fields("hinge_loss_param",
                  Field("norm", &HingeLossParams::norm, "L1, or L2 for the square"));
  }
};

// bottoms: scores (N, ...), whose axes after the first together are the classes; labels (N)
// top: the loss, a scalar
class HingeLoss final : public LayerOf<HingeLossParams> {
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
    const double sum = kernels::loss_kernels().hinge(rows, classes, bottom[0]->data(),
                                                     bottom[1]->data(), is_squared());
    top[0]->mutable_data()[0] = static_cast<float>(sum / mean_divisor(rows));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const int64_t rows = bottom[0]->shape(0);
    const auto scale = static_cast<float>(top[0]->diff()[0] / mean_divisor(rows));
    check_labels(*bottom[1], bottom[0]->count(1), {});
    kernels::loss_kernels().hinge_backward(rows, bottom[0]->count(1), bottom[0]->data(),
                                           bottom[1]->data(), is_squared(), scale,
                                           bottom[0]->mutable_diff());
  }

 private:
  bool is_squared() const { return params_of().norm == HingeNorm::kL2; }
};

PYDL_REGISTER_LAYER("HingeLoss", HingeLoss,
                    "One-against-all hinge loss of scores with integer labels, or its square.");

}  // namespace pydl
