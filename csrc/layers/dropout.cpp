// Dropout (Srivastava et al. 2014): in TRAIN sets elements to 0 at random and scales up the rest.
// With dropout_ratio 1 everything becomes 0, where Caffe multiplies 0 by infinity.

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "pydl/layer.h"

namespace pydl {

struct DropoutParams {
  float dropout_ratio = 0.5f;

  static auto fields() {
    return Fields("dropout_param", Field("dropout_ratio", &DropoutParams::dropout_ratio,
                                         "probability of setting an element to 0"));
  }
};

class Dropout final : public NeuronLayer<DropoutParams> {
 public:
  bool keeps_sign() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const float ratio = params_of().dropout_ratio;
    check(ratio >= 0 && ratio <= 1, "dropout_ratio must be from 0 to 1, got ", ratio);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (phase() == Phase::kTrain) ++draws_;
    const ConstArray x = bottom[0]->data(format());
    Map(bottom[0]->count(), x, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    Map(bottom[0]->count(), dy, bottom[0]->mutable_diff(format()));
  }

 private:
  // The mask is a function of draws_ alone, so that backward finds forward's again.
  void Map(int64_t n, ConstArray x, Array y) const {
    if (phase() == Phase::kTrain) {
      kernels::activation_kernels().dropout(n, x, params_of().dropout_ratio, context().seed,
                                            stream_of(name()) + static_cast<uint64_t>(draws_), y);
    } else if (x.data != y.data) {
      kernels::eltwise_kernels().scale(n, 1, x, y);
    }
  }

  int64_t draws_ = 0;  // forward passes in TRAIN
};

PYDL_REGISTER_LAYER("Dropout", Dropout,
                    "In TRAIN sets elements to 0 at random, with the given probability, and scales "
                    "the others up to keep the mean. In TEST the identity.");

}  // namespace pydl
