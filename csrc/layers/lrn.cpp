// LRN: local response normalisation (Krizhevsky et al. 2012), across or within channels.

#include "kernels/lrn.h"

#include "layers/axis_view.h"
#include "layers/engine.h"
#include "pydl/layer.h"

namespace pydl {

enum class NormRegion { kAcrossChannels = 0, kWithinChannel = 1 };
constexpr std::array<EnumName, 2> enum_names(NormRegion) {
  return {{{"ACROSS_CHANNELS", 0}, {"WITHIN_CHANNEL", 1}}};
}

struct LrnParams {
  uint32_t local_size = 5;
  float alpha = 1, beta = 0.75f;
  NormRegion norm_region = NormRegion::kAcrossChannels;
  float k = 1;
  Engine engine = Engine::kDefault;

  static auto fields() {
    using P = LrnParams;
    return Fields(
        "lrn_param", Field("local_size", &P::local_size, "channels, or side of the window; odd"),
        Field("alpha", &P::alpha, "factor on the mean square of the neighbours"),
        Field("beta", &P::beta, "exponent of the denominator"),
        Field("norm_region", &P::norm_region, "neighbours in other channels, or around in one"),
        Field("k", &P::k, "added to the denominator; always 1 with WITHIN_CHANNEL"),
        Field("engine", &P::engine, "accepted for Caffe's files; no effect"));
  }
};

// bottom, top: (N, C, ...), WITHIN_CHANNEL (N, C, H, W)
class Lrn final : public LayerOf<LrnParams> {
 public:
  Layouts layouts() const override { return Layouts::kAny; }
  TopUse backward_reads_top() const override { return TopUse::kNone; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().local_size % 2 == 1, "local_size must be odd, got ", params_of().local_size);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& shape = bottom[0]->shape();
    check(shape.size() == 4 || (across() && shape.size() >= 2), "needs a bottom of ",
          across() ? "2 axes (N, C) or more" : "4 axes (N, C, H, W)", ", got shape ",
          shape_text(shape));
    top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& lrn = kernels::lrn_kernels();
    const auto forward = across() ? lrn.across_forward : lrn.within_forward;
    const ConstArray x = bottom[0]->data(format());
    forward(problem(*bottom[0]), x, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& lrn = kernels::lrn_kernels();
    const auto backward = across() ? lrn.across_backward : lrn.within_backward;
    backward(problem(*bottom[0]), bottom[0]->data(format()), top[0]->diff(format()),
             bottom[0]->mutable_diff(format()));
  }

 private:
  bool across() const { return params_of().norm_region == NormRegion::kAcrossChannels; }

  kernels::LrnShape problem(const Blob& x) const {
    const LrnParams& p = params_of();
    const AxisView v = axis_view(x, 1, across() ? layout() : Layout::kPlain);
    kernels::LrnShape s{v.outer,
                        v.channels,
                        v.inner,
                        1,
                        1,
                        layout() == Layout::kChannelsLast,
                        p.local_size,
                        p.alpha,
                        p.beta,
                        across() ? p.k : 1};
    if (!across()) s.h = x.shape(2), s.w = x.shape(3);
    return s;
  }
};

PYDL_REGISTER_LAYER("LRN", Lrn,
                    "Local response normalisation: divides by a power of the mean square of the "
                    "neighbours, across channels or around within one.");

}  // namespace pydl
