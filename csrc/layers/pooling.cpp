// Pooling over two axes: maximum, average, or stochastic (Zeiler & Fergus 2013, arXiv:1301.3557).

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "core/random.h"
#include "kernels/pool.h"
#include "layers/engine.h"
#include "layers/stochastic_pool.h"
#include "pydl/layer.h"

namespace pydl {

enum class PoolMethod { kMax = 0, kAve = 1, kStochastic = 2 };
constexpr std::array<EnumName, 3> enum_names(PoolMethod) {
  return {{{"MAX", 0}, {"AVE", 1}, {"STOCHASTIC", 2}}};
}

enum class RoundMode { kCeil = 0, kFloor = 1 };
constexpr std::array<EnumName, 2> enum_names(RoundMode) { return {{{"CEIL", 0}, {"FLOOR", 1}}}; }

struct PoolingParams {
  using OptionalUint = std::optional<uint32_t>;
  PoolMethod pool = PoolMethod::kMax;
  OptionalUint pad, pad_h, pad_w, kernel_size, kernel_h, kernel_w, stride, stride_h, stride_w;
  Engine engine = Engine::kDefault;
  bool global_pooling = false;
  RoundMode round_mode = RoundMode::kCeil;

  static auto fields() {
    using P = PoolingParams;
    return Fields(
        "pooling_param", Field("pool", &P::pool, "MAX, AVE, or STOCHASTIC"),
        Field("pad", &P::pad, "padding on all sides; 0 if absent"),
        Field("pad_h", &P::pad_h, "padding above and below, in the place of pad"),
        Field("pad_w", &P::pad_w, "padding left and right"),
        Field("kernel_size", &P::kernel_size, "side of the window; required unless global_pooling"),
        Field("kernel_h", &P::kernel_h, "rows of the window, in the place of kernel_size"),
        Field("kernel_w", &P::kernel_w, "columns of the window"),
        Field("stride", &P::stride, "distance between windows; 1 if absent"),
        Field("stride_h", &P::stride_h, "distance along rows, in the place of stride"),
        Field("stride_w", &P::stride_w, "distance along columns"),
        Field("engine", &P::engine, "accepted for Caffe's files; no effect"),
        Field("global_pooling", &P::global_pooling, "one window over the whole input"),
        Field("round_mode", &P::round_mode,
              "CEIL: windows may reach beyond the far edge; FLOOR: they may not"));
  }
};

namespace {

struct Pair {
  int64_t h, w;
};

// A field given for both axes at once, or as _h and _w.
Pair read_pair(const char* name, const char* both_name, std::optional<uint32_t> both,
               std::optional<uint32_t> h, std::optional<uint32_t> w, uint32_t otherwise) {
  check(!(both && (h || w)), "give either ", both_name, " or ", name, "_h and ", name,
        "_w, not both");
  check(h.has_value() == w.has_value(), name, "_h and ", name, "_w go together, but only ", name,
        h ? "_h" : "_w", " is given");
  if (h) return {*h, *w};
  return {both.value_or(otherwise), both.value_or(otherwise)};
}

// Caffe's count of windows; a last one that would start at or beyond the end of the padding is
// dropped. Caffe keeps it if nothing is padded, and then reads and writes outside the input.
int64_t windows(int64_t size, int64_t kernel, int64_t stride, int64_t pad, RoundMode mode) {
  const int64_t room = size + 2 * pad - kernel;
  const int64_t up = mode == RoundMode::kCeil ? stride - 1 : 0;
  if (room + up < 0) return 0;
  const int64_t count = (room + up) / stride + 1;
  return (count - 1) * stride >= size + pad ? count - 1 : count;
}

}  // namespace

// bottom: (N, C, H, W)   tops: (N, C, OH, OW), and for MAX if wanted the index of each maximum in
// its H x W plane, as floats, through which no gradient passes.
class Pooling final : public LayerOf<PoolingParams> {
 public:
  Arity tops() const override { return {1, params_of().pool == PoolMethod::kMax ? 2 : 1}; }
  Layouts layouts() const override { return Layouts::kAny; }
  TopUse backward_reads_top() const override {
    return averages_by_value() ? TopUse::kData : TopUse::kNone;
  }
  bool backward_reads_bottom(int) const override { return averages_by_value(); }
  bool is_selection() const override {
    return spec_.top.size() == 1 && (params_of().pool == PoolMethod::kMax || sampled());
  }
  DTypes dtypes() const override {
    const bool typed = params_of().pool != PoolMethod::kStochastic && spec_.top.size() == 1;
    return typed ? DTypes::kAny : DTypes::kFloat32;
  }
  std::vector<int64_t*> state() override {
    return params_of().pool == PoolMethod::kStochastic ? std::vector<int64_t*>{&draws_}
                                                       : std::vector<int64_t*>{};
  }

  void SetUp(const Blobs&, const Blobs&) override {
    const PoolingParams& p = params_of();
    const Pair kernel =
        read_pair("kernel", "kernel_size", p.kernel_size, p.kernel_h, p.kernel_w, 0);
    const Pair stride = read_pair("stride", "stride", p.stride, p.stride_h, p.stride_w, 1);
    const Pair pad = read_pair("pad", "pad", p.pad, p.pad_h, p.pad_w, 0);
    if (p.global_pooling) {
      check(!p.kernel_size && !p.kernel_h, "global_pooling takes the whole input as its window; ",
            "leave out kernel_size, kernel_h and kernel_w");
      check(pad.h == 0 && pad.w == 0 && stride.h == 1 && stride.w == 1,
            "global_pooling goes with pad 0 and stride 1 only, got pad ", pad.h, "x", pad.w,
            " and stride ", stride.h, "x", stride.w);
    } else {
      check(p.kernel_size || p.kernel_h,
            "needs kernel_size, or kernel_h and kernel_w, or global_pooling: true");
      check(kernel.h > 0 && kernel.w > 0, "the kernel must be at least 1x1, got ", kernel.h, "x",
            kernel.w);
      check(pad.h < kernel.h && pad.w < kernel.w, "pad ", pad.h, "x", pad.w,
            " must be smaller than the kernel ", kernel.h, "x", kernel.w);
    }
    check(stride.h > 0 && stride.w > 0, "stride must be at least 1, got ", stride.h, "x", stride.w);
    check(p.pool != PoolMethod::kStochastic || (pad.h == 0 && pad.w == 0),
          "STOCHASTIC pooling takes no padding, got pad ", pad.h, "x", pad.w);
    shape_.kernel_h = kernel.h, shape_.kernel_w = kernel.w;
    shape_.stride_h = stride.h, shape_.stride_w = stride.w;
    shape_.pad_h = pad.h, shape_.pad_w = pad.w;
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() == 4, "needs a bottom of 4 axes (N, C, H, W), got shape ",
          shape_text(x.shape()));
    kernels::PoolShape& s = shape_;
    s.n = x.shape(0), s.c = x.shape(1), s.h = x.shape(2), s.w = x.shape(3);
    if (params_of().global_pooling) s.kernel_h = s.h, s.kernel_w = s.w;
    s.oh = windows(s.h, s.kernel_h, s.stride_h, s.pad_h, params_of().round_mode);
    s.ow = windows(s.w, s.kernel_w, s.stride_w, s.pad_w, params_of().round_mode);
    check(s.oh > 0 && s.ow > 0 && s.h > 0 && s.w > 0, "kernel ", s.kernel_h, "x", s.kernel_w,
          " is larger than its padded input ", s.h + 2 * s.pad_h, "x", s.w + 2 * s.pad_w);
    check(s.h <= std::numeric_limits<int32_t>::max() / s.w, "a plane of ", s.h, "x", s.w,
          " is too large");
    for (Blob* y : top) y->Reshape({s.n, s.c, s.oh, s.ow});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    shape_.channels_last = layout() == Layout::kChannelsLast;
    const ConstArray x = bottom[0]->data(format());
    const Array y = top[0]->mutable_data(format());
    if (params_of().pool == PoolMethod::kAve)
      return kernels::pool_kernels().ave_forward(shape_, x, y);
    if (averages_by_value()) {
      return stochastic_average(shape_, bottom[0]->data(layout()), top[0]->mutable_data(layout()));
    }
    index_.resize(top[0]->count());
    if (sampled()) {
      const uint64_t stream = stream_of(name()) + static_cast<uint64_t>(++draws_);
      return stochastic_sample(shape_, context().seed, stream, bottom[0]->data(layout()),
                               top[0]->mutable_data(layout()), index_.data());
    }
    kernels::pool_kernels().max_forward(shape_, x, y, index_.data());
    if (top.size() > 1) {
      std::copy(index_.begin(), index_.end(), top[1]->mutable_data(layout()));
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    const Array dx = bottom[0]->mutable_diff(format());
    if (params_of().pool == PoolMethod::kAve) {
      kernels::pool_kernels().ave_backward(shape_, dy, dx);
    } else if (params_of().pool == PoolMethod::kMax || sampled()) {
      kernels::pool_kernels().max_backward(shape_, dy, index_.data(), dx);
    } else {
      stochastic_average_backward(shape_, bottom[0]->data(layout()), top[0]->data(layout()),
                                  top[0]->diff(layout()), bottom[0]->mutable_diff(layout()));
    }
  }

 private:
  bool sampled() const {
    return params_of().pool == PoolMethod::kStochastic && phase() == Phase::kTrain;
  }

  bool averages_by_value() const {
    return params_of().pool == PoolMethod::kStochastic && phase() == Phase::kTest;
  }

  kernels::PoolShape shape_{};
  std::vector<int32_t> index_;  // of the element taken, in its plane; in the top's layout
  int64_t draws_ = 0;           // forward passes that sampled
};

PYDL_REGISTER_LAYER("Pooling", Pooling,
                    "Maximum, average or stochastic pooling over windows of the last two axes; a "
                    "last one wholly beyond the input is dropped. With MAX a second top has the "
                    "index of each maximum in its plane.");

}  // namespace pydl
