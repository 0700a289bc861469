// InfogainLoss: the log loss of a softmax over scores, in which a matrix H weighs the classes: for
// label l, -sum over k of H[l, k] log(p[k]). With the identity it is SoftmaxWithLoss.

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/softmax.h"
#include "layers/labels.h"
#include "layers/loss_params.h"
#include "pydl/data.h"
#include "pydl/layer.h"

namespace pydl {

struct InfogainLossParams {
  std::string source;
  int32_t axis = 1;

  static auto fields() {
    using P = InfogainLossParams;
    return Fields("infogain_loss_param",
                  Field("source", &P::source, "a .binaryproto with H, if there is no third bottom"),
                  Field("axis", &P::axis, "the axis of the classes"));
  }
};

// bottoms: scores (outer, classes, inner), labels (outer, inner), and perhaps H (classes, classes)
// tops: the loss, a scalar; and if wanted the softmax, which passes no gradient on
class InfogainLoss final : public LayerOf<InfogainLossParams, LossParams> {
 public:
  Arity bottoms() const override { return {2, 3}; }
  Arity tops() const override { return {1, 2}; }
  Layouts layouts() const override { return axis_ == 1 ? Layouts::kAny : Layouts::kPlain; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool is_loss() const override { return true; }
  bool backward_reads_bottom(int bottom) const override { return bottom > 0; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    check(!params_of<LossParams>().normalize,
          "does not take the old loss_param.normalize; use normalization: VALID for true, "
          "BATCH_SIZE for false");
    const std::string& source = params_of().source;
    if (bottom.size() > 2) return;
    check(!source.empty(),
          "needs the matrix H: give infogain_loss_param { source: \"H.binaryproto\" }, or H as a "
          "third bottom");
    check(blob_reader() != nullptr, "source \"", source,
          "\": nothing can read it; a C++ program calls set_blob_reader (pydl/data.h) first");
    Shape shape;
    given_ = blob_reader()(source, &shape);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    axis_ = bottom[0]->CanonicalAxis(params_of().axis);
    check_label_count(*bottom[0], axis_, *bottom[1]);
    const int64_t classes = bottom[0]->shape(axis_);
    const int64_t count =
        bottom.size() > 2 ? bottom[2]->count() : static_cast<int64_t>(given_.size());
    check(count == classes * classes, "the matrix H must be ", classes, "x", classes, " for the ",
          classes, " classes of the prediction ", shape_text(bottom[0]->shape()), " (axis ", axis_,
          "), but it has ", count, " values");
    prob_.ReshapeLike(*bottom[0]);
    top[0]->Reshape({});
    if (top.size() > 1) top[1]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const LossParams& p = params_of<LossParams>();
    check_labels(*bottom[1], bottom[0]->shape(axis_), p.ignore_label);
    const auto& softmax = kernels::softmax_kernels();
    const kernels::SoftmaxShape shape = view(*bottom[0]);
    float* prob = prob_.mutable_data(layout());
    softmax.forward(shape, bottom[0]->data(layout()), prob);
    int64_t valid = 0;
    const double loss =
        softmax.infogain(shape, prob, bottom[1]->data(), p.ignore_label.has_value(),
                         p.ignore_label.value_or(0), weights(bottom), kLeastProbability, &valid);
    const int64_t outer = bottom[0]->count(0, axis_), inner = bottom[0]->count(axis_ + 1);
    normalizer_ = normalizer(p.mode(Normalization::kValid), outer, inner, valid);
    top[0]->mutable_data()[0] = static_cast<float>(loss / normalizer_);
    if (top.size() > 1) std::copy_n(prob, prob_.count(), top[1]->mutable_data(layout()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& ignore_label = params_of<LossParams>().ignore_label;
    const int64_t classes = bottom[0]->shape(axis_);
    check_labels(*bottom[1], classes, ignore_label);
    const float* w = weights(bottom);
    std::vector<float> sums(static_cast<size_t>(classes));  // of the rows
    for (int64_t k = 0; k < classes; ++k) {
      sums[k] = static_cast<float>(kernels::eltwise_kernels().sum(classes, w + k * classes));
    }
    const auto scale = static_cast<float>(top[0]->diff()[0] / normalizer_);
    kernels::softmax_kernels().infogain_backward(
        view(*bottom[0]), prob_.data(layout()), bottom[1]->data(), ignore_label.has_value(),
        ignore_label.value_or(0), w, sums.data(), scale, bottom[0]->mutable_diff(layout()));
  }

 private:
  // H, row by row.
  const float* weights(const Blobs& bottom) const {
    return bottom.size() > 2 ? bottom[2]->data() : given_.data();
  }
  // In either layout the positions come in the labels' plain order.
  kernels::SoftmaxShape view(const Blob& scores) const {
    const AxisView v = axis_view(scores, axis_, layout());
    return {v.outer, v.channels, v.inner};
  }

  int axis_ = 1;
  std::vector<float> given_;  // H from a file
  Blob prob_;
  double normalizer_ = 1;
};

PYDL_REGISTER_LAYER("InfogainLoss", InfogainLoss,
                    "Log loss of the softmax of scores, with a matrix that weighs the classes for "
                    "each integer label. A second top is the softmax itself; no gradient passes "
                    "through it.");

}  // namespace pydl
