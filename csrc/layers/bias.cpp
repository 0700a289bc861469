// Bias: y = x + bias, over some axes; learned, or from a second bottom.

#include <algorithm>

#include "kernels/eltwise.h"
#include "layers/affine_axes.h"
#include "layers/channel_scale.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct BiasParams {
  int32_t axis = 1, num_axes = 1;
  FillerParams filler;

  static auto fields() {
    using P = BiasParams;
    return Fields(
        "bias_param", Field("axis", &P::axis, "first axis of the bottom that has biases"),
        Field("num_axes", &P::num_axes,
              "number of axes with biases of their own; 0: one bias, -1: all from axis on"),
        Field("filler", &P::filler, "start values"));
  }
};

// bottoms: x (outer, b, inner) and perhaps bias (b)   params: bias (b) if it is no bottom
class Bias final : public LayerOf<BiasParams>, public ChannelAffine {
 public:
  Arity bottoms() const override { return {1, 2}; }
  Layouts layouts() const override { return axes_.layouts(); }
  bool in_place() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }

  bool is_affine() const override { return learned_ && axes_.begin == 1 && axes_.axes == 1; }
  void compose(float*, float* b) const override {
    const float* bias = params()[0]->data();
    for (int64_t c = 0; c < params()[0]->count(); ++c) b[c] += bias[c];
  }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const BiasParams& p = params_of();
    learned_ = bottom.size() == 1;
    if (learned_) AddParam(affine_shape(*bottom[0], p.axis, p.num_axes), &p.filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axes_ = AffineAxes(*bottom[0], params_of().axis, bias(bottom));
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const AxisView v = axes_.view(*bottom[0], layout());
    const ConstArray x = bottom[0]->data(format());
    const float* b = bias(bottom).data();
    kernels::eltwise_kernels().affine_forward(v.outer, v.channels, v.inner, x, nullptr, b,
                                              top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const AxisView v = axes_.view(*bottom[0], layout());
    const ConstArray dy = top[0]->diff(format());
    if (float* db = BiasDiff(down, bottom)) {
      kernels::eltwise_kernels().affine_backward_params(v.outer, v.channels, v.inner, nullptr, dy,
                                                        nullptr, db);
    }
    if (down[0] == Propagate::kNo || bottom[0] == top[0]) return;
    kernels::eltwise_kernels().scale(top[0]->count(), 1, dy, bottom[0]->mutable_diff(format()));
  }

 private:
  Blob& bias(const Blobs& bottom) const { return learned_ ? *params()[0] : *bottom[1]; }

  float* BiasDiff(const Propagates& down, const Blobs& bottom) const {
    if (learned_) return param_propagate(0) ? params()[0]->update_diff() : nullptr;
    if (down[1] == Propagate::kNo) return nullptr;
    float* diff = bottom[1]->mutable_diff();
    kernels::eltwise_kernels().fill(bottom[1]->count(), 0, diff);
    return diff;
  }

  bool learned_ = true;
  AffineAxes axes_;
};

PYDL_REGISTER_LAYER("Bias", Bias,
                    "Adds a learned bias, per channel or over other axes, or a second bottom.");

}  // namespace pydl
