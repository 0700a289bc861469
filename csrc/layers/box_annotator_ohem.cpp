// BoxAnnotatorOHEM: online hard example mining of R-FCN (Dai et al. 2016, arXiv:1605.06409;
// Shrivastava et al. 2016, arXiv:1604.03540). Of each image only the regions of the greatest loss
// keep their labels and their weights; of equal losses the first. A loss that is NaN comes last.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

struct BoxAnnotatorOhemParams {
  int32_t roi_per_img = 0, ignore_label = -1;

  static auto fields() {
    using P = BoxAnnotatorOhemParams;
    return Fields("box_annotator_ohem_param",
                  Field("roi_per_img", &P::roi_per_img, "regions of an image to keep; required"),
                  Field("ignore_label", &P::ignore_label, "label that the others get"));
  }
};

// bottoms: regions (R, 5, ...), loss of each, label of each, weights of box regression (R, C, ...)
// tops: labels (R, 1, H, W), weights (R, C, H, W)
class BoxAnnotatorOhem final : public LayerOf<BoxAnnotatorOhemParams> {
 public:
  Arity bottoms() const override { return {4, 4}; }
  Arity tops() const override { return {2, 2}; }
  bool can_propagate(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().roi_per_img > 0, "roi_per_img must be given and positive, got ",
          params_of().roi_per_img);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& rois = *bottom[0];
    check(rois.axes() >= 2 && rois.axes() <= 4 && rois.shape(1) == 5,
          "takes regions (R, 5) or (R, 5, H, W), got ", shape_text(rois.shape()));
    const int64_t n = rois.shape(0), h = rois.axes() > 2 ? rois.shape(2) : 1;
    const int64_t w = rois.axes() > 3 ? rois.shape(3) : 1;
    for (int i = 1; i < 3; ++i) {
      check(bottom[i]->count() == n * h * w, "bottom \"", spec_.bottom[i],
            "\" must have one value for each of ", n * h * w, " regions, but is ",
            shape_text(bottom[i]->shape()));
    }
    const Blob& weights = *bottom[3];
    check(weights.axes() >= 2 && weights.shape(0) == n && weights.count(2) == h * w,
          "the weights must be (R, C) or (R, C, H, W) as the regions ", shape_text(rois.shape()),
          ", but are ", shape_text(weights.shape()));
    places_ = h * w;
    top[0]->Reshape({n, 1, h, w});
    top[1]->Reshape({n, weights.shape(1), h, w});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const float *roi = bottom[0]->data(), *loss = bottom[1]->data(), *label = bottom[2]->data();
    const float* weight = bottom[3]->data();
    float* labels = top[0]->mutable_data();
    float* weights = top[1]->mutable_data();
    std::fill_n(labels, top[0]->count(), static_cast<float>(params_of().ignore_label));
    std::fill_n(weights, top[1]->count(), 0.0f);
    const int64_t channels = top[1]->shape(1);
    std::map<int64_t, int32_t> taken;  // by image
    for (const int64_t i : ByFallingLoss(top[0]->count(), loss)) {
      const int64_t n = i / places_, place = i % places_;
      const float image = roi[n * 5 * places_ + place];
      check(image > -1 && image < 1e9f, "region ", i, " is of image ", image);
      if (taken[static_cast<int64_t>(image)]++ >= params_of().roi_per_img) continue;
      labels[i] = label[i];
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = (n * channels + c) * places_ + place;
        weights[at] = weight[at];
      }
    }
  }

 private:
  static std::vector<int64_t> ByFallingLoss(int64_t count, const float* loss) {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [loss](int64_t a, int64_t b) {
      return loss[a] > loss[b] || (std::isnan(loss[b]) && !std::isnan(loss[a]));
    });
    return order;
  }

  int64_t places_ = 1;
};

PYDL_REGISTER_LAYER("BoxAnnotatorOHEM", BoxAnnotatorOhem,
                    "Of each image the roi_per_img regions of greatest loss keep label and "
                    "weights; the others get ignore_label and 0.");

}  // namespace pydl
