// PReLU: x for x > 0, slope[c] x otherwise, with learned slopes (He et al. 2015, arXiv:1502.01852).

#include <algorithm>

#include "kernels/activation.h"
#include "layers/axis_view.h"
#include "layers/kept_input.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct PreluParams {
  std::optional<FillerParams> filler;
  bool channel_shared = false;

  static auto fields() {
    return Fields(
        "prelu_param",
        Field("filler", &PreluParams::filler,
              "start values of the slopes; constant 0.25 if absent"),
        Field("channel_shared", &PreluParams::channel_shared, "one slope for all channels"));
  }
};

// x, y: (N, C, ...)   slope: (C), or a scalar if shared
class Prelu final : public NeuronLayer<PreluParams> {
 public:
  bool in_place() const override { return phase() == Phase::kTest; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    check(bottom[0]->axes() >= 2, "needs a bottom with a channel axis (2 or more axes), got shape ",
          shape_text(bottom[0]->shape()));
    channels_ = bottom[0]->shape(1);
    FillerParams quarter;
    quarter.value = 0.25f;
    const FillerParams filler = params_of().filler.value_or(quarter);
    AddParam(params_of().channel_shared ? Shape{} : Shape{channels_}, &filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(bottom[0]->axes() >= 2 && bottom[0]->shape(1) == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(bottom[0]->shape()));
    NeuronLayer::Reshape(bottom, top);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const AxisView v = view(*bottom[0]);
    const ConstArray x = bottom[0]->data(format());
    if (bottom[0] == top[0] && needs_backward()) x_.keep(bottom[0]->count(), x);
    kernels::activation_kernels().prelu_forward(
        v.outer, v.channels, v.inner, x, params()[0]->data(), top[0]->mutable_data(format()));
  }

  // In place the input is kept apart: a negative slope makes the output's sign useless.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const bool wants_dx = down[0] != Propagate::kNo;
    if (!wants_dx && !param_propagate(0)) return;
    const AxisView v = view(*bottom[0]);
    const ConstArray x = bottom[0] == top[0] ? x_.get() : bottom[0]->data(format());
    const ConstArray dy = top[0]->diff(format());
    kernels::activation_kernels().prelu_backward(
        v.outer, v.channels, v.inner, x, params()[0]->data(), dy,
        wants_dx ? bottom[0]->mutable_diff(format()) : Array(),
        param_propagate(0) ? params()[0]->update_diff() : nullptr);
  }

 private:
  AxisView view(const Blob& x) const {
    if (params_of().channel_shared) return {1, 1, x.count()};
    return axis_view(x, 1, layout());
  }

  int64_t channels_ = 0;
  KeptInput x_;
};

PYDL_REGISTER_LAYER("PReLU", Prelu, "Rectifier with a learned slope per channel left of 0.");

}  // namespace pydl
