// ROIAlign: bilinear samples of each bin of a region, averaged (He et al. 2017, arXiv:1703.06870).
// The convention is that of Caffe2 and Detectron, and torchvision's with aligned=False: corners are
// scaled and not rounded, position i of the image lies at i (not i + 1/2), a region is at least 1
// wide and high, a sample more than 1 outside of the image counts as 0.

#include <algorithm>
#include <cmath>

#include "layers/rois.h"

namespace pydl {

struct RoiAlignParams {
  int32_t pooled_h = 0, pooled_w = 0;
  float spatial_scale = 1;
  int32_t sampling_ratio = -1;

  static auto fields() {
    using P = RoiAlignParams;
    return Fields("roi_align_param",
                  Field("pooled_h", &P::pooled_h, "rows of bins of a region; required"),
                  Field("pooled_w", &P::pooled_w, "columns of bins; required"),
                  Field("spatial_scale", &P::spatial_scale,
                        "from the regions' coordinates to the bottom's: 1/16 after four poolings"),
                  Field("sampling_ratio", &P::sampling_ratio,
                        "samples of a bin along each axis; 0 or less: one for each position"));
  }
};

namespace {

// A region that reaches farther has bins so large that nothing of the image is seen in them.
constexpr float kFar = 1e9f;

// Along one axis, the positions that the samples of each bin read, and how much of each.
struct RoiTaps {
  std::vector<int32_t> first{0}, at;
  std::vector<float> weight;

  void add(int32_t position, float share) {
    const auto count = static_cast<int64_t>(at.size()) - first.back();  // of this bin
    const auto known = std::find(at.end() - std::min<int64_t>(count, 2), at.end(), position);
    if (known == at.end()) {
      at.push_back(position);
      weight.push_back(share);
    } else {
      weight[known - at.begin()] += share;
    }
  }
  void end_bin() { first.push_back(static_cast<int32_t>(at.size())); }
};

// The two neighbours of a sample in an image of `size`.
void add_sample(float where, float share, int64_t size, RoiTaps* taps) {
  if (where < -1 || where > static_cast<float>(size) || size == 0) return;
  where = std::clamp(where, 0.0f, static_cast<float>(size - 1));
  const auto low = static_cast<int32_t>(where);
  const float beyond = where - static_cast<float>(low);
  taps->add(low, (1 - beyond) * share);
  if (beyond > 0) taps->add(low + 1, beyond * share);
}

// `samples` of a bin, `step` apart; those far outside of the image are not looked at.
void add_bin(float begin, float step, int64_t samples, int64_t size, RoiTaps* taps) {
  const auto first = static_cast<int64_t>((-1 - begin) / step) - 2;
  const auto last = static_cast<int64_t>((static_cast<float>(size) - begin) / step) + 2;
  const float share = 1 / static_cast<float>(samples);
  for (int64_t i = std::max<int64_t>(first, 0); i < std::min(last, samples); ++i) {
    add_sample(begin + (static_cast<float>(i) + 0.5f) * step, share, size, taps);
  }
  taps->end_bin();
}

}  // namespace

// bottoms: (N, C, H, W), regions (R, 5)   top: (R, C, pooled_h, pooled_w)
class RoiAlign final : public BinnedRoiLayer<RoiAlignParams> {
 public:
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of();
    shape_ = shape_of(bottom, p.pooled_h, p.pooled_w);
    rows_ = columns_ = RoiTaps();
    for (const Roi& roi : Read(bottom)) {
      add_bins(roi.nowhere(), roi.y1, roi.y2, p.pooled_h, shape_.h, &rows_);
      add_bins(roi.nowhere(), roi.x1, roi.x2, p.pooled_w, shape_.w, &columns_);
    }
    kernels::roi_kernels().align_forward(
        shape_, image_.data(), rows_.first.data(), rows_.at.data(), rows_.weight.data(),
        columns_.first.data(), columns_.at.data(), columns_.weight.data(),
        bottom[0]->data(Layout::kChannelsLast), top[0]->mutable_data(Layout::kChannelsLast));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    kernels::roi_kernels().align_backward(
        shape_, image_.data(), rows_.first.data(), rows_.at.data(), rows_.weight.data(),
        columns_.first.data(), columns_.at.data(), columns_.weight.data(),
        top[0]->diff(Layout::kChannelsLast), bottom[0]->mutable_diff(Layout::kChannelsLast));
  }

 private:
  void add_bins(bool nowhere, float first, float last, int32_t bins, int64_t size,
                RoiTaps* to) const {
    const float scale = params_of().spatial_scale;
    const float begin = first * scale, length = std::max(last * scale - begin, 1.0f);
    if (nowhere || std::abs(begin) > kFar || length > kFar) {
      for (int32_t i = 0; i < bins; ++i) to->end_bin();
      return;
    }
    const float step = length / static_cast<float>(bins);
    const int32_t ratio = params_of().sampling_ratio;
    const int64_t samples = ratio > 0 ? ratio : static_cast<int64_t>(std::ceil(step));
    for (int32_t i = 0; i < bins; ++i) {
      add_bin(begin + static_cast<float>(i) * step, step / static_cast<float>(samples), samples,
              size, to);
    }
  }

  kernels::RoiShape shape_{};
  RoiTaps rows_, columns_;
};

PYDL_REGISTER_LAYER("ROIAlign", RoiAlign,
                    "Averages of bilinear samples of each of pooled_h x pooled_w bins of regions "
                    "[batch item, x1, y1, x2, y2], whose corners are not rounded.");

}  // namespace pydl
