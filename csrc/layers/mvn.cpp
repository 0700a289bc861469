// MVN (mean-variance normalisation): gives each image, or each of its channels, mean 0 and variance
// 1.

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
    scale_.resize(rows);
    size_ = rows == 0 ? 0 : bottom[0]->count() / rows;
    top[0]->Reshape(shape);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    kernels::norm_kernels().normalize_rows(rows(), size_, params_of().normalize_variance,
                                           params_of().eps, x, scale_.data(),
                                           top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const bool variance = params_of().normalize_variance;
    const ConstArray dy = top[0]->diff(format());
    const ConstArray y = variance ? top[0]->data(format()) : ConstArray();
    kernels::norm_kernels().rows_backward(rows(), size_, variance, y, scale_.data(), dy,
                                          bottom[0]->mutable_diff(format()));
  }

 private:
  int64_t rows() const { return size_ == 0 ? 0 : static_cast<int64_t>(scale_.size()); }

  int64_t size_ = 0;          // of a row
  std::vector<float> scale_;  // per row
};

PYDL_REGISTER_LAYER("MVN", Mvn,
                    "Gives each image, or each channel of it, mean 0 and variance 1. The top has "
                    "at least four axes.");

}  // namespace pydl
