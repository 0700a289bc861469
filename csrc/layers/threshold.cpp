// Threshold: 1 for x > threshold, else 0. No gradient passes.

#include "kernels/activation.h"
#include "pydl/layer.h"

namespace pydl {

struct ThresholdParams {
  float threshold = 0;

  static auto fields() {
    return Fields("threshold_param", Field("threshold", &ThresholdParams::threshold,
                                           "what an input must be larger than"));
  }
};

class Threshold final : public NeuronLayer<ThresholdParams> {
 public:
  bool can_propagate(int) const override { return false; }
  bool backward_reads_bottom(int) const override { return false; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().threshold(bottom[0]->count(), x, params_of().threshold,
                                            top[0]->mutable_data(format()));
  }
};

PYDL_REGISTER_LAYER("Threshold", Threshold,
                    "1 where the input is larger than the threshold, else 0; no gradient passes.");

}  // namespace pydl
