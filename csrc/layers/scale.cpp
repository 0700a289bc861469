// Scale: y = x * scale + bias, over some axes; learned, or scale from a second bottom.

#include "kernels/eltwise.h"
#include "layers/affine_axes.h"
#include "layers/channel_scale.h"
#include "layers/kept_input.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct ScaleParams {
  int32_t axis = 1, num_axes = 1;
  std::optional<FillerParams> filler;
  bool bias_term = false;
  FillerParams bias_filler;

  static auto fields() {
    using P = ScaleParams;
    return Fields(
        "scale_param", Field("axis", &P::axis, "first axis of the bottom that has factors"),
        Field("num_axes", &P::num_axes,
              "number of axes with factors of their own; 0: one factor, -1: all from axis on"),
        Field("filler", &P::filler, "start values of the factors; constant 1 if absent"),
        Field("bias_term", &P::bias_term, "add a learned bias as well"),
        Field("bias_filler", &P::bias_filler, "start values of the bias"));
  }
};

// bottoms: x (outer, s, inner) and perhaps scale (s)   params: scale (s) if it is no bottom, bias
// (s)
class Scale final : public LayerOf<ScaleParams>, public ChannelScale, public ChannelAffine {
 public:
  Arity bottoms() const override { return {1, 2}; }
  Layouts layouts() const override { return axes_.layouts(); }
  // In place the bottom has to be kept apart for the gradient of the factors.
  bool in_place() const override { return phase() == Phase::kTest; }

  bool along_channels() const override { return learned_ && axes_.begin == 1 && axes_.axes == 1; }
  Blob* scale_blob() const override { return params()[0].get(); }
  Blob* bias_blob() const override { return params_of().bias_term ? params()[1].get() : nullptr; }
  float* scale_diff() const override {
    return param_propagate(0) ? params()[0]->update_diff() : nullptr;
  }
  float* bias_diff() const override { return BiasDiff(); }

  bool is_affine() const override { return along_channels(); }
  void compose(float* a, float* b) const override {
    const float* scale = params()[0]->data();
    const float* bias = params_of().bias_term ? params()[1]->data() : nullptr;
    for (int64_t c = 0; c < params()[0]->count(); ++c) {
      a[c] *= scale[c];
      b[c] = b[c] * scale[c] + (bias ? bias[c] : 0);
    }
  }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const ScaleParams& p = params_of();
    learned_ = bottom.size() == 1;
    FillerParams ones;
    ones.value = 1;
    const FillerParams filler = p.filler.value_or(ones);
    if (learned_) AddParam(affine_shape(*bottom[0], p.axis, p.num_axes), &filler);
    if (p.bias_term) AddParam(scale(bottom).shape(), &p.bias_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axes_ = AffineAxes(*bottom[0], params_of().axis, scale(bottom));
    if (params_of().bias_term) AffineAxes(*bottom[0], params_of().axis, bias());
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const AxisView v = axes_.view(*bottom[0], layout());
    const ConstArray x = bottom[0]->data(format());
    const float* factors = scale(bottom).data();
    if (bottom[0] == top[0] && needs_backward()) x_.keep(bottom[0]->count(), x);
    kernels::eltwise_kernels().affine_forward(v.outer, v.channels, v.inner, x, factors,
                                              params_of().bias_term ? bias().data() : nullptr,
                                              top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto& kernels = kernels::eltwise_kernels();
    const AxisView v = axes_.view(*bottom[0], layout());
    const ConstArray dy = top[0]->diff(format());
    float* dscale = ScaleDiff(down, bottom);
    float* dbias = BiasDiff();
    if (dscale || dbias) {
      const ConstArray x = bottom[0] == top[0] ? x_.get() : bottom[0]->data(format());
      kernels.affine_backward_params(v.outer, v.channels, v.inner, x, dy, dscale, dbias);
    }
    if (down[0] == Propagate::kNo) return;
    kernels.affine_forward(v.outer, v.channels, v.inner, dy, scale(bottom).data(), nullptr,
                           bottom[0]->mutable_diff(format()));
  }

 private:
  Blob& scale(const Blobs& bottom) const { return learned_ ? *params()[0] : *bottom[1]; }
  Blob& bias() const { return *params().back(); }

  float* ScaleDiff(const Propagates& down, const Blobs& bottom) const {
    if (learned_) return scale_diff();
    if (down[1] == Propagate::kNo) return nullptr;
    float* diff = bottom[1]->mutable_diff();
    kernels::eltwise_kernels().fill(bottom[1]->count(), 0, diff);
    return diff;
  }
  float* BiasDiff() const {
    if (!params_of().bias_term || !param_propagate(params().size() - 1)) return nullptr;
    return bias().update_diff();
  }

  bool learned_ = true;
  AffineAxes axes_;
  KeptInput x_;
};

PYDL_REGISTER_LAYER("Scale", Scale,
                    "Multiplies by learned factors, per channel or over other axes, or by a second "
                    "bottom; adds a learned bias if wanted.");

}  // namespace pydl
