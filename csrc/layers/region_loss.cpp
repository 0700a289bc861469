// RegionLoss: what YOLOv2 is trained by (Redmon & Farhadi 2017, arXiv:1612.08242; darknet's region
// layer).

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/parallel.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "layers/region_cells.h"
#include "pydl/layer.h"

namespace pydl {

struct RegionLossParams {
  uint32_t side = 13, num_class = 20, coords = 4, num = 5;
  bool bias_match = true, softmax = true, rescore = true, absolute = true, random = true;
  float jitter = 0.2f, object_scale = 1, class_scale = 1, noobject_scale = 0.5f, coord_scale = 5;
  float thresh = 0.2f;
  std::vector<float> biases;
  std::string softmax_tree, class_map;

  static auto fields() {
    using P = RegionLossParams;
    return Fields(
        "region_loss_param", Field("side", &P::side, "not looked at: cells are as the bottom has"),
        Field("num_class", &P::num_class, "number of classes"),
        Field("coords", &P::coords, "numbers of a box; 4"),
        Field("num", &P::num, "anchors of each cell"),
        Field("bias_match", &P::bias_match,
              "a box belongs to the anchor of the most similar size, not the predicted box"),
        Field("softmax", &P::softmax, "classes exclude one another; else each for itself"),
        Field("jitter", &P::jitter, "accepted, without effect: data layers vary images"),
        Field("rescore", &P::rescore, "an object's target is the overlap of its box, not 1"),
        Field("object_scale", &P::object_scale, "weight of the object's score where there is one"),
        Field("noobject_scale", &P::noobject_scale, "... and where there is none"),
        Field("class_scale", &P::class_scale, "weight of the class"),
        Field("coord_scale", &P::coord_scale, "weight of the box"),
        Field("absolute", &P::absolute, "accepted, without effect"),
        Field("thresh", &P::thresh, "a box that overlaps an object more is not taught otherwise"),
        Field("random", &P::random, "accepted, without effect: data layers vary images"),
        Field("biases", &P::biases, "width and height of each anchor, in cells; required"),
        Field("softmax_tree", &P::softmax_tree, "refused: a hierarchy of classes"),
        Field("class_map", &P::class_map, "refused: other numbers of classes"));
  }
};

// bottoms: scores (N, A (5 + classes), H, W); objects (N, M, 5), in any shape: class, centre and
//          size as shares of the image, up to the first of no width
// top: the loss, a scalar
//
// Per anchor of each cell, with s the logistic function, over N:
//   scale / 2 ((s(x) - tx)^2 + (s(y) - ty)^2 + (w - tw)^2 + (h - th)^2) of its box, if it has one;
//   object_scale / 2 (s(o) - overlap)^2 if it has an object, else noobject_scale / 2 s(o)^2, else
//     nothing where its box overlaps an object by more than thresh;
//   class_scale times the cross entropy of the class, if it has an object.
// Overlaps are constants. scale is coord_scale, without rescore times 2 - width height. During the
// first 12800 images of a run in TRAIN, anchors without an object are drawn to their own box, with
// scale 0.01. The gradient is darknet's; the forks report the sum of its squares in its place.
class RegionLoss final : public LayerOf<RegionLossParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&seen_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const auto& p = params_of();
    check(p.coords == 4, "region_loss_param.coords must be 4, got ", p.coords);
    check(p.num > 0 && p.num_class > 0, "num ", p.num, " and num_class ", p.num_class,
          " must be positive");
    check(p.biases.size() == 2 * static_cast<size_t>(p.num), "biases has ", p.biases.size(),
          " numbers; ", int64_t{2} * p.num, " are needed, the width and height of each of ", p.num,
          " anchors");
    const bool positive = *std::min_element(p.biases.begin(), p.biases.end()) > 0;
    check(positive, "biases must be positive: widths and heights in cells");
    check(p.softmax_tree.empty() && p.class_map.empty(),
          "softmax_tree and class_map (YOLO9000) are not supported; give the classes as they are");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const int64_t channels = params_of().num * values();
    check(x.axes() == 4 && x.shape(1) == channels, "needs scores with ", channels, " channels (",
          params_of().num, " anchors of 5 + ", params_of().num_class, " values), got ",
          shape_text(x.shape()));
    const Blob& objects = *bottom[1];
    const bool match =
        objects.axes() >= 2 && objects.shape(0) == x.shape(0) && objects.count(1) % 5 == 0;
    check(match, "needs rows of 5 numbers (class, x, y, width, height) for each of ", x.shape(0),
          " images, got ", shape_text(objects.shape()));
    const int64_t area = x.shape(2) * x.shape(3);
    cells_ = {x.shape(2),
              x.shape(3),
              params_of().num,
              values(),
              params_of().biases.data(),
              values() * area,
              1,
              area};
    gradient_.ReshapeLike(x);
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t batch = bottom[0]->shape(0), size = bottom[0]->count(1);
    const int64_t row = bottom[1]->count(1);
    for (int64_t n = 0; n < batch; ++n) CheckObjects(*bottom[1], n * row, row);
    const float *x = bottom[0]->data(), *objects = bottom[1]->data();
    float* gradient = gradient_.mutable_data();
    std::vector<double> loss(batch);
    const bool draw = phase() == Phase::kTrain && seen_ < kDrawnImages;
    kernels::parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        loss[n] = Image(x + n * size, objects + n * row, row / 5, draw, gradient + n * size);
      }
    });
    if (phase() == Phase::kTrain) seen_ += batch;
    double sum = 0;
    for (const double l : loss) sum += l;
    top[0]->mutable_data()[0] = static_cast<float>(sum / mean_divisor(batch));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto scale = static_cast<float>(top[0]->diff()[0] / mean_divisor(bottom[0]->shape(0)));
    kernels::eltwise_kernels().scale(gradient_.count(), scale, gradient_.data(),
                                     bottom[0]->mutable_diff());
  }

 private:
  static constexpr int64_t kDrawnImages = 12800;

  // What an anchor of a cell is to give.
  struct Target {
    float box_scale = 0, x = 0, y = 0, w = 0, h = 0;
    float object_scale = 0, object = 0;
    int32_t label = -1;
  };

  int64_t values() const { return 5 + params_of().num_class; }

  void CheckObjects(const Blob& objects, int64_t begin, int64_t count) const {
    const float* v = objects.data();
    for (int64_t i = begin; i < begin + count && v[i + 3] != 0; i += 5) {
      const bool known = v[i] >= 0 && v[i] < static_cast<float>(params_of().num_class);
      check(known, "label ", v[i], " at ", position_text(objects.shape(), i), " of the ",
            shape_text(objects.shape()), " objects is not in 0 to ", params_of().num_class - 1);
      const bool inside = v[i + 1] >= 0 && v[i + 1] < 1 && v[i + 2] >= 0 && v[i + 2] < 1 &&
                          v[i + 3] > 0 && v[i + 4] > 0;
      check(inside, "the object at ", position_text(objects.shape(), i), " of the ",
            shape_text(objects.shape()), " objects has the centre ", v[i + 1], ", ", v[i + 2],
            " and the size ", v[i + 3], " x ", v[i + 4],
            "; a centre in the image and a positive size are needed, as shares of the image");
    }
  }

  Target BoxTarget(const CenterBox& box, int64_t cell, int64_t anchor, float scale) const {
    const auto w = static_cast<float>(cells_.width), h = static_cast<float>(cells_.height);
    Target t;
    t.box_scale = scale;
    t.x = box.x * w - static_cast<float>(cell % cells_.width);
    t.y = box.y * h - static_cast<float>(cell / cells_.width);
    t.w = std::log(box.w * w / cells_.biases[2 * anchor]);
    t.h = std::log(box.h * h / cells_.biases[2 * anchor + 1]);
    return t;
  }

  // An anchor of its own in the middle of its cell.
  CenterBox Anchor(int64_t cell, int64_t anchor) const {
    const auto w = static_cast<float>(cells_.width), h = static_cast<float>(cells_.height);
    return {(static_cast<float>(cell % cells_.width) + 0.5f) / w,
            (static_cast<float>(cell / cells_.width) + 0.5f) / h, cells_.biases[2 * anchor] / w,
            cells_.biases[2 * anchor + 1] / h};
  }

  Target Background(const float* x, const std::vector<CenterBox>& truth, bool draw, int64_t cell,
                    int64_t anchor) const {
    const CenterBox box = cells_.box(x, cell, anchor);
    float best = 0;
    for (const CenterBox& t : truth) best = std::max(best, overlap(box, t));
    Target target;
    if (draw) target = BoxTarget(Anchor(cell, anchor), cell, anchor, 0.01f);
    target.object_scale = best > params_of().thresh ? 0 : params_of().noobject_scale;
    return target;
  }

  // The anchor of a cell whose size is the most like that of a box.
  int64_t BestAnchor(const float* x, const CenterBox& truth, int64_t cell) const {
    float best = 0;
    int64_t anchor = 0;
    for (int64_t a = 0; a < cells_.anchors; ++a) {
      CenterBox size =
          params_of().bias_match ? Anchor(cell, a) : cells_.box(x + cells_.first(cell, a), cell, a);
      size.x = size.y = 0;
      const float found = overlap(size, {0, 0, truth.w, truth.h});
      if (found > best) best = found, anchor = a;
    }
    return anchor;
  }

  Target Object(const float* x, const CenterBox& truth, float label, int64_t cell,
                int64_t anchor) const {
    const auto& p = params_of();
    const float scale = p.coord_scale * (p.rescore ? 1 : 2 - truth.w * truth.h);
    Target t = BoxTarget(truth, cell, anchor, scale);
    t.object_scale = p.object_scale;
    t.object = p.rescore ? overlap(cells_.box(x, cell, anchor), truth) : 1;
    t.label = static_cast<int32_t>(label);
    return t;
  }

  double Image(const float* x, const float* objects, int64_t most, bool draw, float* dx) const {
    const int64_t area = cells_.height * cells_.width;
    std::vector<CenterBox> truth;
    for (int64_t i = 0; i < most && objects[5 * i + 3] != 0; ++i) {
      const float* v = objects + 5 * i;
      truth.push_back({v[1], v[2], v[3], v[4]});
    }
    std::vector<Target> targets(area * cells_.anchors);
    for (int64_t a = 0; a < cells_.anchors; ++a) {
      for (int64_t cell = 0; cell < area; ++cell) {
        targets[a * area + cell] = Background(x + cells_.first(cell, a), truth, draw, cell, a);
      }
    }
    for (size_t i = 0; i < truth.size(); ++i) {  // the last one to want an anchor has it
      const auto column = static_cast<int64_t>(truth[i].x * static_cast<float>(cells_.width));
      const auto row = static_cast<int64_t>(truth[i].y * static_cast<float>(cells_.height));
      const int64_t cell =
          std::min(row, cells_.height - 1) * cells_.width + std::min(column, cells_.width - 1);
      const int64_t a = BestAnchor(x, truth[i], cell);
      targets[a * area + cell] =
          Object(x + cells_.first(cell, a), truth[i], objects[5 * i], cell, a);
    }
    double loss = 0;
    for (int64_t a = 0; a < cells_.anchors; ++a) {
      for (int64_t cell = 0; cell < area; ++cell) {
        const int64_t first = cells_.first(cell, a);
        loss += Cost(targets[a * area + cell], x + first, dx + first);
      }
    }
    return loss;
  }

  // scale / 2 (value - target)^2; *slope: the derivative by the value.
  static double Square(float scale, float value, float target, float* slope) {
    *slope = scale * (value - target);
    return 0.5 * *slope * (value - target);
  }
  // ... of s(x), by x
  static double LogisticSquare(float scale, float x, float target, float* slope) {
    const float s = logistic(x);
    const double cost = Square(scale, s, target, slope);
    *slope *= s * (1 - s);
    return cost;
  }

  double Cost(const Target& t, const float* x, float* dx) const {
    const int64_t stride = cells_.stride;
    double cost = LogisticSquare(t.box_scale, x[0], t.x, dx);
    cost += LogisticSquare(t.box_scale, x[stride], t.y, dx + stride);
    cost += Square(t.box_scale, x[2 * stride], t.w, dx + 2 * stride);
    cost += Square(t.box_scale, x[3 * stride], t.h, dx + 3 * stride);
    cost += LogisticSquare(t.object_scale, x[4 * stride], t.object, dx + 4 * stride);
    return cost + ClassCost(t.label, x + 5 * stride, dx + 5 * stride);
  }

  double ClassCost(int32_t label, const float* x, float* dx) const {
    const int64_t classes = params_of().num_class, stride = cells_.stride;
    const float scale = label < 0 ? 0 : params_of().class_scale;
    if (scale == 0) {
      for (int64_t c = 0; c < classes; ++c) dx[c * stride] = 0;
      return 0;
    }
    float largest = x[0];
    for (int64_t c = 1; c < classes; ++c) largest = std::max(largest, x[c * stride]);
    double sum = 0, cost = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(x[c * stride] - largest);
    for (int64_t c = 0; c < classes; ++c) {
      const float v = x[c * stride], is_label = c == label ? 1.0f : 0.0f;
      const float p =
          params_of().softmax ? static_cast<float>(std::exp(v - largest) / sum) : logistic(v);
      dx[c * stride] = scale * (p - is_label);
      // of the logistic function: log(1 + exp(v)) - v [is_label]
      if (!params_of().softmax) {
        cost += std::fmax(v, 0.0f) - v * is_label + std::log1p(std::exp(-std::fabs(v)));
      }
    }
    if (params_of().softmax) cost = std::log(sum) + largest - x[label * stride];
    return scale * cost;
  }

  RegionCells cells_{};
  Blob gradient_;     // of the sum over the images
  int64_t seen_ = 0;  // images, in TRAIN
};

PYDL_REGISTER_LAYER("RegionLoss", RegionLoss,
                    "YOLOv2's loss: of the boxes, the objects and the classes that its last "
                    "convolution gives, for objects given as rows of class, centre and size.");

}  // namespace pydl
