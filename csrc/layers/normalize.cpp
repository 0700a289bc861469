// Normalize (SSD; Liu et al. 2015, ParseNet, arXiv:1506.04579): the channels of each position, or a
// whole item, divided by their length and multiplied by learned factors.

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "kernels/l2_norm.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct NormalizeParams {
  bool across_spatial = true, channel_shared = true;
  std::optional<FillerParams> scale_filler;
  float eps = 1e-10f;

  static auto fields() {
    using P = NormalizeParams;
    return Fields(
        "norm_param",
        Field("across_spatial", &P::across_spatial,
              "divide by the length of a whole item, not of each position's channels"),
        Field("channel_shared", &P::channel_shared, "one factor for all channels"),
        Field("scale_filler", &P::scale_filler, "start values of the factors; 1 if absent"),
        Field("eps", &P::eps, "added to the squared length"));
  }
};

// bottom, top: (N, C, ...)   param: the factors (C), or a scalar if shared
class Normalize final : public LayerOf<NormalizeParams> {
 public:
  Layouts layouts() const override { return Layouts::kChannelsLast; }
  DTypes dtypes() const override { return DTypes::kAny; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    check(bottom[0]->axes() >= 2, "needs a bottom with a channel axis (2 or more axes), got shape ",
          shape_text(bottom[0]->shape()));
    check(params_of().eps >= 0, "eps must not be negative, got ", params_of().eps);
    channels_ = bottom[0]->shape(1);
    ones_.assign(static_cast<size_t>(channels_), 1);
    FillerParams ones;
    ones.value = 1;
    const FillerParams filler = params_of().scale_filler.value_or(ones);
    AddParam(params_of().channel_shared ? Shape{} : Shape{channels_}, &filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() >= 2 && x.shape(1) == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(x.shape()));
    const int64_t items = x.shape(0), positions = x.count(2);
    shape_ = params_of().across_spatial ? kernels::L2NormShape{items, positions, channels_}
                                        : kernels::L2NormShape{items * positions, 1, channels_};
    norm_.resize(static_cast<size_t>(shape_.rows));
    top[0]->ReshapeLike(x);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::l2_norm_kernels().forward(shape_, bottom[0]->data(format()), params_of().eps, scale(),
                                       factor(), norm_.data(), top[0]->mutable_data(format()));
  }

  // SSD's own is the derivative only where all factors are equal.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    std::vector<float> dscale(param_propagate(0) ? static_cast<size_t>(channels_) : 0);
    const Array dx = down[0] == Propagate::kNo ? Array() : bottom[0]->mutable_diff(format());
    if (!dx && dscale.empty()) return;
    kernels::l2_norm_kernels().backward(shape_, bottom[0]->data(format()), scale(), factor(),
                                        norm_.data(), top[0]->diff(format()), dx,
                                        dscale.empty() ? nullptr : dscale.data());
    if (!dscale.empty()) AddGradient(dscale);
  }

 private:
  // The factors of the channels, and that of all.
  const float* scale() const {
    return params_of().channel_shared ? ones_.data() : params()[0]->data();
  }
  float factor() const { return params_of().channel_shared ? *params()[0]->data() : 1; }

  void AddGradient(const std::vector<float>& dscale) {
    float* to = params()[0]->update_diff();
    if (params_of().channel_shared) {
      *to += static_cast<float>(std::accumulate(dscale.begin(), dscale.end(), 0.0));
    } else {
      std::transform(dscale.begin(), dscale.end(), to, to, std::plus<>());
    }
  }

  int64_t channels_ = 0;
  kernels::L2NormShape shape_{};
  std::vector<float> norm_;  // of the rows
  std::vector<float> ones_;
};

PYDL_REGISTER_LAYER("Normalize", Normalize,
                    "Divides each item, or the channels of each position, by their Euclidean "
                    "length, and multiplies by learned factors (SSD).");

}  // namespace pydl
