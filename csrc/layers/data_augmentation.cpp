// DataAugmentation (FlowNet) as its nets need it for use: less the mean of the pictures of the
// first recompute_mean passes, which training kept with the weights. It varies no pictures at
// random.

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "pydl/layer.h"

namespace pydl {

struct AugmentationParams {
  uint32_t crop_width = 0, crop_height = 0, recompute_mean = 0;
  bool mean_per_pixel = true, augment_during_test = false;
  std::vector<float> mean;
  float max_multiplier = 255;
  std::string write_augmented, write_mean, mode;
  uint32_t bottomwidth = 0, bottomheight = 0, num = 0;

  static auto fields() {
    using P = AugmentationParams;
    constexpr const char* kIgnored = "read, to no effect";
    return Fields("augmentation_param",
                  Field("crop_width", &P::crop_width, "the bottom's width, if it is given"),
                  Field("crop_height", &P::crop_height, "the bottom's height, if it is given"),
                  Field("recompute_mean", &P::recompute_mean,
                        "passes whose pictures the mean is of; 0: there is no such mean"),
                  Field("mean_per_pixel", &P::mean_per_pixel,
                        "a mean for each value of a picture; else one for each channel"),
                  Field("mean", &P::mean,
                        "without recompute_mean and mean_per_pixel: to subtract from each channel"),
                  Field("augment_during_test", &P::augment_during_test, kIgnored),
                  Field("max_multiplier", &P::max_multiplier, kIgnored),
                  Field("write_augmented", &P::write_augmented, kIgnored),
                  Field("write_mean", &P::write_mean, kIgnored), Field("mode", &P::mode, kIgnored),
                  Field("bottomwidth", &P::bottomwidth, kIgnored),
                  Field("bottomheight", &P::bottomheight, kIgnored),
                  Field("num", &P::num, kIgnored));
  }
};

// bottom, top: (N, C, H, W)
// params: the passes so far (1, 1, 1, 1); with recompute_mean also the mean picture (1, C, H, W)
// and its means (1, C, 1, 1)
class DataAugmentation final : public LayerOf<AugmentationParams> {
 public:
  bool backward_reads_bottom(int) const override { return false; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const AugmentationParams& p = params_of();
    CheckShape(*bottom[0]);
    const Shape& x = bottom[0]->shape();
    channels_ = x[1];
    AddParam(Shape{1, 1, 1, 1});
    if (p.recompute_mean > 0) {
      AddParam(Shape{1, x[1], x[2], x[3]});
      AddParam(Shape{1, x[1], 1, 1});
    }
    // Not for the solver to learn.
    spec_.param.resize(std::max(spec_.param.size(), params().size()));
    for (size_t i = 0; i < params().size(); ++i) spec_.param[i].lr_mult = 0;
    check(!HasGivenMean() || static_cast<int64_t>(p.mean.size()) == x[1], "mean is given ",
          p.mean.size(), " times for ", x[1], " channels");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    CheckShape(*bottom[0]);
    check(bottom[0]->shape(1) == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(bottom[0]->shape()));
    top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    float* passes = params()[0]->update_data();
    *passes += 1;
    weight_ = 0;
    if (*passes <= static_cast<float>(params_of().recompute_mean)) AddToMean(x, *passes);
    float* y = top[0]->mutable_data();
    if (params().size() > 1 && params_of().mean_per_pixel) return SubtractPicture(x, y);
    std::vector<float> shift(x.shape(1), 0.0f);
    const float* mean = params().size() > 1 ? params()[2]->data()
                        : HasGivenMean()    ? params_of().mean.data()
                                            : shift.data();
    for (size_t c = 0; c < shift.size(); ++c) shift[c] = -mean[c];
    kernels::eltwise_kernels().affine_forward(x.shape(0), x.shape(1), x.count(2), x.data(), nullptr,
                                              shift.data(), y);
  }

  // A pass that added to the mean took that share of each gradient back from all it is the mean of.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const Blob& x = *bottom[0];
    const float* dy = top[0]->diff();
    float* dx = bottom[0]->mutable_diff();
    std::copy_n(dy, x.count(), dx);
    if (weight_ == 0) return;
    const int64_t picture = x.count(1), channels = x.shape(1), plane = x.count(2);
    const bool per_pixel = params_of().mean_per_pixel;
    std::vector<double> sums(per_pixel ? picture : channels, 0.0);
    for (int64_t i = 0; i < x.count(); ++i) {
      sums[per_pixel ? i % picture : i / plane % channels] += dy[i];
    }
    const double share = per_pixel ? weight_ : weight_ / static_cast<double>(plane);
    for (int64_t i = 0; i < x.count(); ++i) {
      dx[i] -= static_cast<float>(share * sums[per_pixel ? i % picture : i / plane % channels]);
    }
  }

 private:
  bool HasGivenMean() const {
    const AugmentationParams& p = params_of();
    return p.recompute_mean == 0 && !p.mean_per_pixel && !p.mean.empty();
  }

  void CheckShape(const Blob& x) const {
    const AugmentationParams& p = params_of();
    check(x.axes() == 4 && x.count() > 0, "needs pictures (N, C, H, W), got ",
          shape_text(x.shape()));
    check((p.crop_height == 0 || p.crop_height == x.shape(2)) &&
              (p.crop_width == 0 || p.crop_width == x.shape(3)),
          "crop_height ", p.crop_height, " and crop_width ", p.crop_width, " cut a part out of ",
          shape_text(x.shape()), ", which is not done here; give a picture of that size, or a ",
          "Crop layer");
  }

  void CheckMeanFits(const Blob& x) const {
    check(x.count(1) == params()[1]->count(), "its mean picture is ",
          shape_text(params()[1]->shape()), ", but its bottom is ", shape_text(x.shape()),
          "; one size is needed, or mean_per_pixel: false and weights that were trained so");
  }

  void AddToMean(const Blob& x, float passes) {
    CheckMeanFits(x);
    weight_ = 1 / (passes * static_cast<float>(x.shape(0)));
    const auto& eltwise = kernels::eltwise_kernels();
    const int64_t picture = x.count(1), plane = x.count(2);
    float* mean = params()[1]->update_data();
    eltwise.scale(picture, (passes - 1) / passes, mean, mean);
    for (int64_t n = 0; n < x.shape(0); ++n) {
      eltwise.axpby(picture, weight_, x.data() + n * picture, 1, mean);
    }
    float* means = params()[2]->mutable_data();
    for (int64_t c = 0; c < x.shape(1); ++c) {
      means[c] =
          static_cast<float>(eltwise.sum(plane, mean + c * plane) / static_cast<double>(plane));
    }
  }

  void SubtractPicture(const Blob& x, float* y) const {
    CheckMeanFits(x);
    const int64_t picture = x.count(1);
    std::copy_n(x.data(), x.count(), y);
    for (int64_t n = 0; n < x.shape(0); ++n) {
      kernels::eltwise_kernels().axpby(picture, -1, params()[1]->data(), 1, y + n * picture);
    }
  }

  int64_t channels_ = 0;
  float weight_ = 0;  // of a picture of the last pass in the mean
};

PYDL_REGISTER_LAYER("DataAugmentation", DataAugmentation,
                    "Pictures less their mean, which the first passes in training measure; what "
                    "FlowNet's layer does in nets for use.");

}  // namespace pydl
