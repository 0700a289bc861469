// Pooling over one to three axes: maximum, average, or stochastic (Zeiler & Fergus 2013,
// arXiv:1301.3557). Caffe has it for two.

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "core/random.h"
#include "layers/engine.h"
#include "layers/per_axis.h"
#include "layers/pooler.h"
#include "layers/video_params.h"
#include "pydl/layer.h"

namespace pydl {

enum class RoundMode { kCeil = 0, kFloor = 1 };
constexpr std::array<EnumName, 2> enum_names(RoundMode) { return {{{"CEIL", 0}, {"FLOOR", 1}}}; }

struct PoolingParams {
  PoolMethod pool = PoolMethod::kMax;
  std::vector<int32_t> pad, kernel_size, stride;
  OptionalInt pad_h, pad_w, kernel_h, kernel_w, stride_h, stride_w;
  OptionalInt kernel_depth, temporal_stride, temporal_pad;
  Engine engine = Engine::kDefault;
  bool global_pooling = false;
  RoundMode round_mode = RoundMode::kCeil;
  bool ceil_mode = true, torch_pooling = false, avg_include_pad = true;

  static auto fields() {
    using P = PoolingParams;
    return Fields(
        "pooling_param", Field("pool", &P::pool, "MAX, AVE, or STOCHASTIC"),
        Field("pad", &P::pad,
              "padding on all sides: one for all axes, or one per axis; 0 if "
              "absent"),
        Field("pad_h", &P::pad_h, "padding above and below; 2-D only, in the place of pad"),
        Field("pad_w", &P::pad_w, "padding left and right; 2-D only"),
        Field("kernel_size", &P::kernel_size,
              "side of the window: one for all axes, or one per axis; required unless "
              "global_pooling"),
        Field("kernel_h", &P::kernel_h,
              "rows of the window; 2-D only, in the place of kernel_size"),
        Field("kernel_w", &P::kernel_w, "columns of the window; 2-D only"),
        Field("stride", &P::stride,
              "distance between windows: one for all axes, or one per axis; 1 if absent"),
        Field("stride_h", &P::stride_h, "distance along rows; 2-D only, in the place of stride"),
        Field("stride_w", &P::stride_w, "distance along columns; 2-D only"),
        Field("engine", &P::engine, "accepted for Caffe's files; no effect"),
        Field("global_pooling", &P::global_pooling, "one window over the whole input"),
        Field("round_mode", &P::round_mode,
              "CEIL: windows may reach beyond the far edge; FLOOR: they may not"),
        Field("ceil_mode", &P::ceil_mode, "false: round_mode is FLOOR"),
        Field("torch_pooling", &P::torch_pooling, "NVIDIA's: true: round_mode is FLOOR"),
        Field("avg_include_pad", &P::avg_include_pad,
              "Intel's: whether AVE divides by the padding in a window as well"),
        Field("kernel_depth", &P::kernel_depth,
              "C3D: the window along the first of three axes; kernel_size is for the others"),
        Field("temporal_stride", &P::temporal_stride, "C3D: the stride along the first axis"),
        Field("temporal_pad", &P::temporal_pad, "C3D: the padding along the first axis"));
  }

  RoundMode rounding() const {
    return ceil_mode && !torch_pooling ? round_mode : RoundMode::kFloor;
  }
};

namespace {

using Sizes = std::vector<int64_t>;

// As Caffe has it, _h and _w go together.
Sizes read_sizes(const PerAxis& field, int axes, OptionalInt otherwise, int least) {
  check(field.h.has_value() == field.w.has_value(), field.name, "_h and ", field.name,
        "_w go together, but only ", field.name, field.h ? "_h" : "_w", " is given");
  return field.read(axes, otherwise, least);
}

bool all(const Sizes& sizes, int64_t value) {
  return std::all_of(sizes.begin(), sizes.end(), [=](int64_t v) { return v == value; });
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

// bottom: (N, C, in...)   tops: (N, C, out...), and for MAX if wanted the index of each maximum in
// its plane, as floats, through which no gradient passes.
class Pooling : public LayerOf<PoolingParams> {
 public:
  Arity tops() const override { return {1, params_of().pool == PoolMethod::kMax ? 2 : 1}; }
  Layouts layouts() const override {
    return params_of().pool == PoolMethod::kStochastic ? Layouts::kChannelsLast : Layouts::kAny;
  }
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

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const PoolingParams& p = params_of();
    axes_ = bottom[0]->axes() - 2;
    check(axes_ >= 1 && axes_ <= 3, "needs a bottom of 3 to 5 axes (N, C, and one to three more), ",
          "got shape ", shape_text(bottom[0]->shape()));
    const auto name = p.kernel_h || p.kernel_w ? "kernel" : "kernel_size";
    const PerAxis kernel{name, p.kernel_size, p.kernel_h, p.kernel_w, p.kernel_depth};
    stride_ =
        read_sizes({"stride", p.stride, p.stride_h, p.stride_w, p.temporal_stride}, axes_, 1, 1);
    pad_ = read_sizes({"pad", p.pad, p.pad_h, p.pad_w, p.temporal_pad}, axes_, 0, 0);
    if (p.global_pooling) {
      check(!kernel.is_given(), "global_pooling takes the whole input as its window; ",
            "leave out kernel_size, kernel_h and kernel_w");
      check(all(pad_, 0) && all(stride_, 1), "global_pooling goes with pad 0 and stride 1 only, ",
            "got pad ", shape_text(pad_), " and stride ", shape_text(stride_));
    } else {
      check(kernel.is_given(),
            "needs kernel_size, or kernel_h and kernel_w, or global_pooling: true");
      kernel_ = read_sizes(kernel, axes_, std::nullopt, 1);
      for (int i = 0; i < axes_; ++i) {
        check(pad_[i] < kernel_[i], "pad ", shape_text(pad_), " must be smaller than the kernel ",
              shape_text(kernel_));
      }
    }
    check(p.pool != PoolMethod::kStochastic || all(pad_, 0),
          "STOCHASTIC pooling takes no padding, got pad ", shape_text(pad_));
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() == axes_ + 2, "was set up for ", axes_ + 2, " axes, but its bottom is now ",
          shape_text(x.shape()));
    const Sizes in(x.shape().begin() + 2, x.shape().end());
    if (params_of().global_pooling) kernel_ = in;
    shape_ = {x.shape(0), x.shape(1), {}, {}, {}, false};
    kernels::PoolAxis* const axes[] = {&shape_.d, &shape_.h, &shape_.w};
    Shape y_shape{x.shape(0), x.shape(1)};
    bool fits = true;
    for (int i = 0; i < axes_; ++i) {
      const int64_t out = windows(in[i], kernel_[i], stride_[i], pad_[i], params_of().rounding());
      *axes[3 - axes_ + i] = {in[i],      out,     kernel_[i],
                              stride_[i], pad_[i], params_of().avg_include_pad};
      y_shape.push_back(out);
      fits = fits && out > 0 && in[i] > 0;
    }
    check(fits, "kernel ", shape_text(kernel_), " is larger than its padded input ",
          shape_text(padded(in)));
    check(shape_count(in) <= std::numeric_limits<int32_t>::max() &&
              shape_count(kernel_) <= std::numeric_limits<int32_t>::max(),
          "a plane of ", shape_text(in), " or a kernel of ", shape_text(kernel_), " is too large");
    for (Blob* y : top) y->Reshape(y_shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    shape_.channels_last = layout() == Layout::kChannelsLast;
    const ConstArray x = bottom[0]->data(format());
    const Array y = top[0]->mutable_data(format());
    Pooler::Draw draw{context().seed, 0};
    if (sampled()) draw.stream = stream_of(name()) + static_cast<uint64_t>(++draws_);
    pooler_.forward(params_of().pool, shape_, x, y, sampled() ? &draw : nullptr,
                    needs_backward() || top.size() > 1);
    if (top.size() > 1) pooler_.indices(shape_, top[1]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    ConstArray x, y;
    if (averages_by_value()) x = bottom[0]->data(format()), y = top[0]->data(format());
    pooler_.backward(params_of().pool, shape_, x, y, top[0]->diff(format()),
                     bottom[0]->mutable_diff(format()));
  }

 private:
  bool sampled() const {
    return params_of().pool == PoolMethod::kStochastic && phase() == Phase::kTrain;
  }

  bool averages_by_value() const {
    return params_of().pool == PoolMethod::kStochastic && phase() == Phase::kTest;
  }

  Sizes padded(Sizes in) const {
    for (int i = 0; i < axes_; ++i) in[i] += 2 * pad_[i];
    return in;
  }

  int axes_ = 2;
  Sizes kernel_, stride_, pad_;
  kernels::PoolShape shape_{};
  Pooler pooler_;
  int64_t draws_ = 0;  // forward passes that sampled
};

// C3D's (Tran et al. 2015, arXiv:1412.0767), over (N, C, length, height, width).
class Pooling3d final : public Pooling {
 public:
  static Value schemas() { return video_schemas<PoolingParams>("pooling3d_param"); }

 protected:
  void ReadParams(const Value& params) override {
    Pooling::ReadParams(video_params<PoolingParams>(params, "pooling3d_param"));
  }
};

PYDL_REGISTER_LAYER("Pooling", Pooling,
                    "Maximum, average or stochastic pooling over windows of the axes after the "
                    "second, one to three; a last window wholly beyond the input is dropped. With "
                    "MAX a second top has the index of each maximum in its plane.");
PYDL_REGISTER_LAYER("Pooling3D", Pooling3d,
                    "C3D's pooling over length, height and width: kernel_depth, temporal_stride "
                    "and temporal_pad are for the length.");

}  // namespace pydl
