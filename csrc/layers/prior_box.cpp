// PriorBox: boxes of set sizes and shapes at each place of a feature map, relative to the image,
// from which a detector's boxes are told (Liu et al. 2016, "SSD", arXiv:1512.02325).
//
// As in SSD's fork of Caffe sizes are cut to whole pixels, and a ratio that is there already, be it
// by flip, is dropped.

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "layers/boxes.h"
#include "pydl/layer.h"

namespace pydl {

struct PriorBoxParams {
  std::vector<float> min_size, max_size, aspect_ratio, variance;
  bool flip = true, clip = false;
  std::optional<uint32_t> img_size, img_h, img_w;
  std::optional<float> step, step_h, step_w;
  float offset = 0.5f;

  static auto fields() {
    using P = PriorBoxParams;
    return Fields(
        "prior_box_param",
        Field("min_size", &P::min_size, "sides of the small squares, in pixels; required"),
        Field("max_size", &P::max_size, "one per min_size: a square in between, too"),
        Field("aspect_ratio", &P::aspect_ratio, "width over height of further boxes; 1 is there"),
        Field("flip", &P::flip, "each aspect_ratio also upright"),
        Field("clip", &P::clip, "cut the boxes to the image"),
        Field("variance", &P::variance, "handed on in the second row: one, or four; 0.1"),
        Field("img_size", &P::img_size, "side of the image; else the second bottom's"),
        Field("img_h", &P::img_h, "height of the image; with img_w"),
        Field("img_w", &P::img_w, "width of the image; with img_h"),
        Field("step", &P::step, "pixels between the boxes' centres; else image over feature map"),
        Field("step_h", &P::step_h, "the same from top to bottom; with step_w"),
        Field("step_w", &P::step_w, "the same from left to right; with step_h"),
        Field("offset", &P::offset, "of the first centre, in steps"));
  }
};

// bottoms: features (N, C, H, W), image (N, C', H', W'); only their shapes count
// top: (1, 2, H W P 4): the boxes of each place as parts of the image, and their variances
class PriorBox final : public LayerOf<PriorBoxParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Layouts layouts() const override { return Layouts::kPlain; }
  bool can_propagate(int) const override { return false; }
  bool backward_reads_bottom(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    const PriorBoxParams& p = params_of();
    CheckSizes();
    CheckPair(p.img_size, p.img_h, p.img_w, "img_size", "img_h", "img_w");
    CheckPair(p.step, p.step_h, p.step_w, "step", "step_h", "step_w");
    AddRatios();
    variance_ = p.variance.empty() ? std::vector<float>{0.1f} : p.variance;
    check(variance_.size() == 1 || variance_.size() == 4, "variance must be given once or 4 times,",
          " not ", variance_.size(), " times");
    for (float v : variance_) check(v > 0, "variance must be positive, got ", v);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    for (int i : {0, 1}) {
      check(bottom[i]->axes() == 4 && bottom[i]->shape(2) > 0 && bottom[i]->shape(3) > 0,
            "bottom \"", spec_.bottom[i], "\" must be N x C x H x W, but is ",
            shape_text(bottom[i]->shape()));
    }
    const int64_t places = bottom[0]->shape(2) * bottom[0]->shape(3);
    top[0]->Reshape({1, 2, places * static_cast<int64_t>(PriorCount()) * 4});
    values_.clear();
    values_.reserve(top[0]->count());
    AddBoxes(*bottom[0], *bottom[1]);
    for (int64_t i = 0; i < top[0]->shape(2); ++i) values_.push_back(variance_[Cycled(i)]);
  }

  void Forward(const Blobs&, const Blobs& top) override {
    std::copy(values_.begin(), values_.end(), top[0]->mutable_data());
  }

 private:
  template <class T>
  static void CheckPair(const std::optional<T>& both, const std::optional<T>& h,
                        const std::optional<T>& w, const char* name, const char* name_h,
                        const char* name_w) {
    check(!both || (!h && !w), "give ", name, " or ", name_h, " and ", name_w, ", not both");
    check(h.has_value() == w.has_value(), "give both of ", name_h, " and ", name_w, ", or neither");
    for (const auto& size : {both, h, w}) {
      check(!size || *size > 0, name, ", ", name_h, " and ", name_w, " must be positive");
    }
  }

  void CheckSizes() const {
    const PriorBoxParams& p = params_of();
    check(!p.min_size.empty(), "prior_box_param.min_size must be given");
    check(p.max_size.empty() || p.max_size.size() == p.min_size.size(), "max_size is given ",
          p.max_size.size(), " times for ", p.min_size.size(), " of min_size; one for each");
    for (size_t s = 0; s < p.min_size.size(); ++s) {
      check(p.min_size[s] > 0 && p.min_size[s] < kMostPixels, "min_size must be positive, got ",
            p.min_size[s]);
      check(p.max_size.empty() || (p.max_size[s] > p.min_size[s] && p.max_size[s] < kMostPixels),
            "max_size must be above its min_size: ", p.max_size.empty() ? 0 : p.max_size[s],
            " is not above ", p.min_size[s]);
    }
  }

  static bool IsSame(float a, float b) { return std::fabs(a - b) < 1e-6f; }

  void AddRatios() {
    ratios_ = {1};
    for (float ratio : params_of().aspect_ratio) {
      check(ratio > 0, "aspect_ratio must be positive, got ", ratio);
      const auto is_same = [ratio](float other) { return IsSame(ratio, other); };
      if (std::any_of(ratios_.begin(), ratios_.end(), is_same)) continue;
      ratios_.push_back(ratio);
      if (params_of().flip) ratios_.push_back(1 / ratio);
    }
  }

  size_t PriorCount() const {
    return ratios_.size() * params_of().min_size.size() + params_of().max_size.size();
  }
  size_t Cycled(int64_t i) const { return static_cast<size_t>(i) % variance_.size(); }

  // Widths and heights, in pixels, of the boxes at each place.
  std::vector<std::array<float, 2>> Sizes() const {
    const PriorBoxParams& p = params_of();
    std::vector<std::array<float, 2>> sizes;
    for (size_t s = 0; s < p.min_size.size(); ++s) {
      const auto least = static_cast<int64_t>(p.min_size[s]);
      const auto side = static_cast<float>(least);
      sizes.push_back({side, side});
      if (!p.max_size.empty()) {
        const auto most = static_cast<int64_t>(p.max_size[s]);
        const auto middle = static_cast<float>(std::sqrt(static_cast<double>(least * most)));
        sizes.push_back({middle, middle});
      }
      for (float ratio : ratios_) {
        if (IsSame(ratio, 1)) continue;
        sizes.push_back({side * std::sqrt(ratio), side / std::sqrt(ratio)});
      }
    }
    return sizes;
  }

  void AddBoxes(const Blob& features, const Blob& image) {
    const PriorBoxParams& p = params_of();
    const int64_t rows = features.shape(2), columns = features.shape(3);
    const int64_t height = p.img_size ? *p.img_size : p.img_h ? *p.img_h : image.shape(2);
    const int64_t width = p.img_size ? *p.img_size : p.img_w ? *p.img_w : image.shape(3);
    const auto per_cell = [](int64_t pixels, int64_t cells) {
      return static_cast<float>(pixels) / static_cast<float>(cells);
    };
    const float step_h = p.step ? *p.step : p.step_h ? *p.step_h : per_cell(height, rows);
    const float step_w = p.step ? *p.step : p.step_w ? *p.step_w : per_cell(width, columns);
    const auto sizes = Sizes();
    const auto add = [&](double corner, int64_t size) {
      const auto part = static_cast<float>(corner / static_cast<double>(size));
      values_.push_back(p.clip ? std::clamp(part, 0.0f, 1.0f) : part);
    };
    for (int64_t h = 0; h < rows; ++h) {
      const float y = (static_cast<float>(h) + p.offset) * step_h;
      for (int64_t w = 0; w < columns; ++w) {
        const float x = (static_cast<float>(w) + p.offset) * step_w;
        for (const auto& [box_width, box_height] : sizes) {
          add(x - box_width / 2.0, width);
          add(y - box_height / 2.0, height);
          add(x + box_width / 2.0, width);
          add(y + box_height / 2.0, height);
        }
      }
    }
  }

  static constexpr float kMostPixels = 1 << 24;

  std::vector<float> ratios_, variance_;
  std::vector<float> values_;  // of the top
};

PYDL_REGISTER_LAYER("PriorBox", PriorBox,
                    "Boxes of set sizes and shapes at each place of a feature map, and their "
                    "variances, for detectors of SSD's kind.");

}  // namespace pydl
