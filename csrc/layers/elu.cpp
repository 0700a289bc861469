// ELU: x for x > 0, alpha (exp(x) - 1) otherwise (Clevert et al. 2016, arXiv:1511.07289).

#include "kernels/activation.h"
#include "pydl/layer.h"

namespace pydl {

struct EluParams {
  float alpha = 1;

  static auto fields() {
    return Fields("elu_param",
                  Field("alpha", &EluParams::alpha, "the value far to the left is -alpha"));
  }
};

class Elu final : public NeuronLayer<EluParams> {
 public:
  TopUse backward_reads_top() const override { return TopUse::kData; }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::activation_kernels().elu_forward(bottom[0]->count(), x, params_of().alpha,
                                              top[0]->mutable_data(format()));
  }

  // In place, the bottom holds the output, whose sign tells the two branches apart as well.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().elu_backward(bottom[0]->count(), bottom[0]->data(format()),
                                               top[0]->data(format()), dy, params_of().alpha,
                                               bottom[0]->mutable_diff(format()));
  }
};

PYDL_REGISTER_LAYER("ELU", Elu, "Exponential linear unit: x for x > 0, alpha (exp(x) - 1) else.");

}  // namespace pydl
