// MVN (mean-variance normalisation): gives each image, or each of its channels, mean 0 and variance
// 1.

#include <algorithm>
#include <cmath>

#include "kernels/norm.h"
#include "pydl/layer.h"

namespace pydl {

struct MvnParams {
  bool normalize_variance = true, across_channels = false;
  float eps = 1e-9f;

  static auto fields() {
    using P = MvnParams;
    return Fields(
        "mvn_param",
        Field("normalize_variance", &P::normalize_variance, "false: only subtract the mean"),
        Field("across_channels", &P::across_channels,
              "statistics of whole images instead of each channel"),
        Field("eps", &P::eps, "added to the standard deviation"));
  }
};

// y = (x - mean) / (std + eps) over rows of N or N C: unlike in BatchNorm, eps is outside of the
// root. As in Caffe, the gradient takes std + eps for the standard deviation.
class Mvn final : public LayerOf<MvnParams> {
 public:
  bool in_place() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }
  TopUse backward_reads_top() const override {
    return params_of().normalize_variance ? TopUse::kData : TopUse::kNone;
  }
  // In whole images the order of the values does not matter.
  Layouts layouts() const override {
    return params_of().across_channels ? Layouts::kAny : Layouts::kPlain;
  }
  DTypes dtypes() const override { return DTypes::kAny; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    Shape shape = bottom[0]->shape();
    if (shape.size() < 4) shape.resize(4, 1);  // as in Caffe
    const int64_t rows = shape[0] * (params_of().across_channels ? 1 : shape[1]);
    const int64_t count = bottom[0]->count();
    shape_ = {1, rows, rows == 0 ? 0 : count / rows};
    mean_.resize(rows);
    scale_.resize(rows);
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (bottom[0]->count() == 0) return;
    const ConstArray x = bottom[0]->data(format());
    const auto& norm = kernels::norm_kernels();
    norm.statistics(shape_, x, mean_.data(), scale_.data());
    const auto scale = [this](float variance) {
      return 1 / (std::sqrt(variance) + params_of().eps);
    };
    std::transform(scale_.begin(), scale_.end(), scale_.begin(), scale);
    if (!params_of().normalize_variance) std::fill(scale_.begin(), scale_.end(), 1.0f);
    norm.normalize(shape_, x, mean_.data(), scale_.data(), top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo || bottom[0]->count() == 0) return;
    const auto& norm = kernels::norm_kernels();
    const ConstArray dy = top[0]->diff(format());
    if (params_of().normalize_variance) {
      const ConstArray y = top[0]->data(format());
      return norm.backward(shape_, y, scale_.data(), dy, bottom[0]->mutable_diff(format()));
    }
    std::vector<float> mean(mean_.size()), variance(mean_.size());
    norm.statistics(shape_, dy, mean.data(), variance.data());
    norm.normalize(shape_, dy, mean.data(), scale_.data(), bottom[0]->mutable_diff(format()));
  }

 private:
  kernels::NormShape shape_{};       // a row as a channel
  std::vector<float> mean_, scale_;  // per row
};

PYDL_REGISTER_LAYER("MVN", Mvn,
                    "Gives each image, or each channel of it, mean 0 and variance 1. The top has "
                    "at least four axes.");

}  // namespace pydl
