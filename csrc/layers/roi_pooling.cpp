// ROIPooling: the maximum of each bin of a region of interest (Girshick 2015, arXiv:1504.08083), as
// Fast R-CNN's fork of Caffe computes it. Corners are scaled and rounded, halves away from zero; a
// region is at least one position wide and high, one that is reversed begins at its first corner.
// Bins overlap where they do not end on positions, and are cut to the image.

#include <algorithm>
#include <cmath>

#include "layers/rois.h"

namespace pydl {

struct RoiPoolingParams {
  int32_t pooled_h = 0, pooled_w = 0;
  float spatial_scale = 1;

  static auto fields() {
    using P = RoiPoolingParams;
    return Fields("roi_pooling_param",
                  Field("pooled_h", &P::pooled_h, "rows of bins of a region; required"),
                  Field("pooled_w", &P::pooled_w, "columns of bins; required"),
                  Field("spatial_scale", &P::spatial_scale,
                        "from the regions' coordinates to the bottom's: 1/16 after four poolings"));
  }
};

// bottoms: (N, C, H, W), regions (R, 5)   top: (R, C, pooled_h, pooled_w)
class RoiPooling final : public BinnedRoiLayer<RoiPoolingParams> {
 public:
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of();
    shape_ = shape_of(bottom, p.pooled_h, p.pooled_w);
    RoiBins rows, columns;
    for (const Roi& roi : Read(bottom)) {
      add_bins(roi.nowhere(), roi.y1, roi.y2, p.pooled_h, shape_.h, &rows);
      add_bins(roi.nowhere(), roi.x1, roi.x2, p.pooled_w, shape_.w, &columns);
    }
    if (needs_backward()) argmax_.resize(top[0]->count());
    kernels::roi_kernels().max_forward(
        shape_, image_.data(), rows.data(), columns.data(), bottom[0]->data(Layout::kChannelsLast),
        top[0]->mutable_data(Layout::kChannelsLast), needs_backward() ? argmax_.data() : nullptr);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::roi_kernels().max_backward(shape_, image_.data(), top[0]->diff(Layout::kChannelsLast),
                                        argmax_.data(),
                                        bottom[0]->mutable_diff(Layout::kChannelsLast));
  }

 private:
  void add_bins(bool nowhere, float first, float last, int32_t bins, int64_t size,
                RoiBins* to) const {
    if (nowhere) return to->add_empty(bins);
    const float scale = params_of().spatial_scale;
    const float begin = std::round(first * scale), end = std::round(last * scale);
    const float step = std::max(end - begin + 1, 1.0f) / static_cast<float>(bins);
    for (int32_t i = 0; i < bins; ++i) {
      to->add(std::floor(static_cast<float>(i) * step) + begin,
              std::ceil(static_cast<float>(i + 1) * step) + begin, size);
    }
  }

  kernels::RoiShape shape_{};
  std::vector<int32_t> argmax_;
};

PYDL_REGISTER_LAYER("ROIPooling", RoiPooling,
                    "The maximum of each of pooled_h x pooled_w bins of regions [batch item, x1, "
                    "y1, x2, y2] of the first bottom; 0 of a bin outside of the image.");

}  // namespace pydl
