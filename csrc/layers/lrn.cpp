// LRN: local response normalisation (Krizhevsky et al. 2012), across or within channels.

#include "kernels/lrn.h"

#include <algorithm>

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
    const int64_t h = across() ? 1 : x.shape(2), w = across() ? 1 : x.shape(3);
    const int64_t extent = across() ? x.shape(1) : std::max(h, w);
    // A window that reaches beyond everything has the sum of one that just covers it.
    const int64_t size = std::clamp<int64_t>(2 * extent - 1, 1, p.local_size);
    const float share = static_cast<float>(size) / static_cast<float>(p.local_size);
    const float alpha = p.alpha * (across() ? share : share * share);
    return {.outer = v.outer,
            .channels = v.channels,
            .inner = v.inner,
            .h = h,
            .w = w,
            .channels_last = layout() == Layout::kChannelsLast,
            .size = size,
            .alpha = alpha,
            .beta = p.beta,
            .k = across() ? p.k : 1};
  }
};

PYDL_REGISTER_LAYER("LRN", Lrn,
                    "Local response normalisation: divides by a power of the mean square of the "
                    "neighbours, across channels or around within one.");

}  // namespace pydl
