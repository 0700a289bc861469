// PSROIPooling: of each bin of a region the average of a map of its own (R-FCN: Dai et al. 2016,
// arXiv:1605.06409). As in its fork of Caffe, corners are rounded before they are scaled, and a
// region is at least 0.1 wide and high; bins end on positions, and are cut to the image.

#include <algorithm>
#include <cmath>

#include "layers/rois.h"

namespace pydl {

struct PsroiPoolingParams {
  float spatial_scale = 0;
  int32_t output_dim = 0, group_size = 0;

  static auto fields() {
    using P = PsroiPoolingParams;
    return Fields(
        "psroi_pooling_param",
        Field("spatial_scale", &P::spatial_scale,
              "from the regions' coordinates to the bottom's; required"),
        Field("output_dim", &P::output_dim, "channels of the top; required"),
        Field("group_size", &P::group_size, "rows and columns of bins of a region; required"));
  }
};

// bottoms: (N, output_dim * group^2, H, W), regions (R, 5)   top: (R, output_dim, group, group)
// Bin (i, j) of output c is of channel (c * group + i) * group + j.
class PsroiPooling final : public RoiLayer<PsroiPoolingParams> {
 public:
  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check(p.spatial_scale > 0 && p.output_dim > 0 && p.group_size > 0,
          "spatial_scale, output_dim and group_size must be given and positive, got ",
          p.spatial_scale, ", ", p.output_dim, " and ", p.group_size);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check_roi_shapes(*bottom[0], *bottom[1]);
    const int64_t dim = params_of().output_dim, group = params_of().group_size;
    check(bottom[0]->shape(1) == dim * group * group, "output_dim ", dim, " and group_size ", group,
          " go with ", dim * group * group, " channels, but the bottom has ", bottom[0]->shape(1));
    top[0]->Reshape({bottom[1]->shape(0), dim, group, group});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    shape_ = shape_of(bottom, params_of().group_size, params_of().group_size);
    rows_.clear();
    columns_.clear();
    for (const Roi& roi : Read(bottom)) {
      add_bins(roi.nowhere(), roi.y1, roi.y2, shape_.h, &rows_);
      add_bins(roi.nowhere(), roi.x1, roi.x2, shape_.w, &columns_);
    }
    kernels::roi_kernels().mean_forward(shape_, image_.data(), rows_.data(), columns_.data(),
                                        bottom[0]->data(), top[0]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::roi_kernels().mean_backward(shape_, image_.data(), rows_.data(), columns_.data(),
                                         top[0]->diff(), bottom[0]->mutable_diff());
  }

 private:
  void add_bins(bool nowhere, float first, float last, int64_t size, RoiBins* to) const {
    const int32_t bins = params_of().group_size;
    if (nowhere) return to->add_empty(bins);
    const float scale = params_of().spatial_scale;
    const float begin = std::round(first) * scale, end = (std::round(last) + 1) * scale;
    const float step = std::max(end - begin, 0.1f) / static_cast<float>(bins);
    for (int32_t i = 0; i < bins; ++i) {
      to->add(std::floor(static_cast<float>(i) * step + begin),
              std::ceil(static_cast<float>(i + 1) * step + begin), size);
    }
  }

  kernels::RoiShape shape_{};
  RoiBins rows_, columns_;
};

PYDL_REGISTER_LAYER("PSROIPooling", PsroiPooling,
                    "Position-sensitive pooling of regions [batch item, x1, y1, x2, y2]: each of "
                    "group_size x group_size bins averages channels of its own.");

}  // namespace pydl
