// Region: YOLOv2's boxes and class probabilities from its last convolution (Redmon & Farhadi 2017,
// arXiv:1612.08242), as darknet and OpenCV compute them.

#include <algorithm>

#include "core/check.h"
#include "kernels/parallel.h"
#include "layers/region_cells.h"
#include "pydl/layer.h"

namespace pydl {

struct RegionParams {
  int32_t classes = 0, coords = 4, anchors = 5, classfix = 0;
  float thresh = 0.2f, nms_threshold = 0.4f;
  bool softmax = false, logistic = false;
  std::vector<float> biases;

  static auto fields() {
    using P = RegionParams;
    return Fields(
        "region_param", Field("classes", &P::classes, "number of classes; required"),
        Field("coords", &P::coords, "numbers of a box; 4"),
        Field("anchors", &P::anchors, "boxes of each cell"),
        Field("classfix", &P::classfix, "-1: what is an object to less than 0.5 is none"),
        Field("thresh", &P::thresh, "probabilities up to this become 0"),
        Field("nms_threshold", &P::nms_threshold,
              "boxes that overlap a better one of their class more than this lose it; 0: none"),
        Field("softmax", &P::softmax, "classes exclude one another (YOLOv2)"),
        Field("logistic", &P::logistic, "... or each has a probability of its own (YOLOv3)"),
        Field("biases", &P::biases,
              "width and height of each anchor, in cells: what its blob has if no weights come"));
  }
};

// bottoms: scores (N, A (5 + classes), H, W), or with the channels last behind a Permute as in
//          OpenCV; and perhaps the image, which is not looked at
// top: (N, H W A, 5 + classes), without N where it is 1: centre and size as shares of the image,
//      the object's probability, and each class's times that
// param: width and height of each anchor (2 A), which do not learn
class Region final : public LayerOf<RegionParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  bool can_propagate(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check(p.classes > 0, "region_param.classes must be given and positive");
    check(p.anchors > 0, "region_param.anchors must be positive, got ", p.anchors);
    check(p.coords == 4, "region_param.coords must be 4, got ", p.coords);
    check(p.softmax != p.logistic, "give softmax: true (YOLOv2) or logistic: true (YOLOv3)");
    const auto wanted = 2 * static_cast<size_t>(p.anchors);
    check(p.biases.empty() || p.biases.size() == wanted, "biases has ", p.biases.size(),
          " numbers; ", wanted, " are needed, the width and height of each of ", p.anchors,
          " anchors");
    Blob* biases = AddParam({int64_t{2} * p.anchors});
    std::fill_n(biases->mutable_data(), wanted, 1.0f);
    std::copy(p.biases.begin(), p.biases.end(), biases->mutable_data());
    spec_.param.resize(std::max<size_t>(spec_.param.size(), 1));
    spec_.param[0].lr_mult = 0;
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const int64_t channels = params_of().anchors * values();
    const bool fits = x.axes() == 4 && (x.shape(1) == channels || x.shape(3) == channels);
    check(fits, "needs scores with ", channels, " channels (", params_of().anchors,
          " anchors of 5 + ", params_of().classes, " values), got ", shape_text(x.shape()));
    channels_last_ = x.shape(1) != channels;
    const int first = channels_last_ ? 1 : 2;
    height_ = x.shape(first), width_ = x.shape(first + 1);
    const int64_t boxes = height_ * width_ * params_of().anchors;
    top[0]->Reshape(x.shape(0) == 1 ? Shape{boxes, values()} : Shape{x.shape(0), boxes, values()});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t size = bottom[0]->count(1);
    const float *x = bottom[0]->data(), *biases = params()[0]->data();
    float* y = top[0]->mutable_data();
    kernels::parallel_for(bottom[0]->shape(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        Boxes(x + n * size, biases, y + n * size);
        if (params_of().nms_threshold > 0) Suppress(y + n * size);
      }
    });
  }

 private:
  int64_t values() const { return 5 + params_of().classes; }

  // An image. y: (cells, anchors, values)
  void Boxes(const float* x, const float* biases, float* y) const {
    const auto& p = params_of();
    const int64_t area = height_ * width_, stride = channels_last_ ? 1 : area;
    const RegionCells cells{height_,
                            width_,
                            p.anchors,
                            values(),
                            biases,
                            values() * stride,
                            channels_last_ ? p.anchors * values() : 1,
                            stride};
    for (int64_t cell = 0; cell < area; ++cell) {
      for (int64_t a = 0; a < p.anchors; ++a, y += values()) {
        const float* scores = x + cells.first(cell, a);
        const CenterBox box = cells.box(scores, cell, a);
        y[0] = box.x, y[1] = box.y, y[2] = box.w, y[3] = box.h;
        y[4] = logistic(scores[4 * stride]);
        Classes(scores + 5 * stride, stride, p.classfix == -1 && y[4] < 0.5f ? 0 : y[4], y + 5);
      }
    }
  }

  void Classes(const float* x, int64_t stride, float object, float* y) const {
    const int64_t classes = params_of().classes;
    float sum = 1, largest = x[0];
    for (int64_t c = 1; c < classes; ++c) largest = std::max(largest, x[c * stride]);
    if (params_of().softmax) sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      if (params_of().softmax) {
        sum += y[c] = std::exp(x[c * stride] - largest);
      } else {
        y[c] = logistic(x[c * stride]);
      }
    }
    for (int64_t c = 0; c < classes; ++c) {
      const float p = object * y[c] / sum;
      y[c] = p > params_of().thresh ? p : 0;
    }
  }

  // Greedily, of each class on its own, from the most probable box on.
  void Suppress(float* y) const {
    const int64_t boxes = height_ * width_ * params_of().anchors;
    std::vector<int64_t> order;
    for (int64_t c = 5; c < values(); ++c) {
      const auto score = [&](int64_t box) -> float& { return y[box * values() + c]; };
      order.clear();
      for (int64_t box = 0; box < boxes; ++box) {
        if (score(box) > 0) order.push_back(box);
      }
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return score(a) > score(b); });
      for (size_t i = 0; i < order.size(); ++i) {
        for (size_t k = 0; k < i; ++k) {
          if (score(order[k]) == 0 || Overlap(y, order[i], order[k]) <= params_of().nms_threshold) {
            continue;
          }
          score(order[i]) = 0;
          break;
        }
      }
    }
  }

  float Overlap(const float* y, int64_t i, int64_t k) const {
    const auto box = [&](int64_t n) {
      const float* v = y + n * values();
      return CenterBox{v[0], v[1], v[2], v[3]};
    };
    return overlap(box(i), box(k));
  }

  bool channels_last_ = false;
  int64_t height_ = 0, width_ = 0;
};

PYDL_REGISTER_LAYER("Region", Region,
                    "YOLOv2's boxes and class probabilities from its last convolution: a row of "
                    "centre, size, object and classes for each anchor of each cell.");

}  // namespace pydl
