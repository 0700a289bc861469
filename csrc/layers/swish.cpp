// Swish: x sigmoid(beta x) (Ramachandran et al. 2017, arXiv:1710.05941).

#include "kernels/activation.h"
#include "layers/kept_input.h"
#include "layers/overwriting_layer.h"

namespace pydl {

struct SwishParams {
  float beta = 1;

  static auto fields() {
    return Fields("swish_param",
                  Field("beta", &SwishParams::beta, "1 is SiLU; the larger, the closer to ReLU"));
  }
};

class Swish final : public OverwritingLayer<SwishParams> {
 public:
  // Caffe's keeps the sigmoid, so that its gradient is right in place too.
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t n = bottom[0]->count();
    const ConstArray x = bottom[0]->data(format());
    if (bottom[0] == top[0] && needs_backward()) x_.keep(n, x);
    kernels::activation_kernels().swish_forward(n, x, params_of().beta,
                                                top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray x = bottom[0] == top[0] ? x_.get() : bottom[0]->data(format());
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().swish_backward(bottom[0]->count(), x, dy, params_of().beta,
                                                 bottom[0]->mutable_diff(format()));
  }

 private:
  KeptInput x_;
};

PYDL_REGISTER_LAYER("Swish", Swish, "x sigmoid(beta x).");

}  // namespace pydl
