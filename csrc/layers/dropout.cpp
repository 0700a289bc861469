// Dropout (Srivastava et al. 2014): in TRAIN sets elements to 0 at random and scales up the rest.
// With dropout_ratio 1 everything becomes 0, where Caffe multiplies 0 by infinity.
//
// With shared_axis all elements along some axes share their fate, as by Keras' noise_shape: whole
// channels of images (SpatialDropout; Tompson et al. 2015, arXiv:1411.4280) by axes 2 and 3, one
// mask for all steps of a sequence (variational dropout; Gal & Ghahramani 2016, arXiv:1512.05287)
// by the axis of the steps.

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "kernels/scratch.h"
#include "pydl/layer.h"

namespace pydl {

struct DropoutParams {
  float dropout_ratio = 0.5f;
  bool scale_train = true;
  std::vector<int32_t> shared_axis;

  static auto fields() {
    using P = DropoutParams;
    return Fields(
        "dropout_param",
        Field("dropout_ratio", &P::dropout_ratio, "probability of setting an element to 0"),
        Field("scale_train", &P::scale_train,
              "TRAIN scales up what is left; false: TEST scales down instead"),
        Field("shared_axis", &P::shared_axis,
              "axes along which all elements are kept or set to 0 together: 2 and 3 for "
              "channels of images, that of the steps for sequences"));
  }
};

class Dropout final : public NeuronLayer<DropoutParams> {
 public:
  bool keeps_sign() const override { return true; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const float ratio = params_of().dropout_ratio;
    check(ratio >= 0 && ratio <= 1, "dropout_ratio must be from 0 to 1, got ", ratio);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    NeuronLayer::Reshape(bottom, top);
    shared_.assign(bottom[0]->axes(), false);
    for (const int32_t axis : params_of().shared_axis) {
      shared_[bottom[0]->CanonicalAxis(axis)] = true;
    }
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    if (phase() == Phase::kTrain) ++draws_;
    const ConstArray x = bottom[0]->data(format());
    Map(*bottom[0], x, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    Map(*bottom[0], dy, bottom[0]->mutable_diff(format()));
  }

 private:
  void Map(const Blob& like, ConstArray x, Array y) const {
    const DropoutParams& p = params_of();
    const float kept = 1 - p.dropout_ratio;
    if (phase() == Phase::kTrain) {
      Drop(like, x, p.scale_train ? 1 / kept : 1, y);
    } else if (x.data != y.data || !p.scale_train) {
      kernels::eltwise_kernels().scale(like.count(), p.scale_train ? 1 : kept, x, y);
    }
  }

  // The mask is a function of draws_ alone, so that backward finds forward's again.
  void Drop(const Blob& like, ConstArray x, float scale, Array y) const {
    const auto& kernels = kernels::activation_kernels();
    const uint64_t stream = stream_of(name()) + static_cast<uint64_t>(draws_);
    const float ratio = params_of().dropout_ratio;
    if (std::find(shared_.begin(), shared_.end(), true) == shared_.end()) {
      return kernels.dropout(like.count(), x, ratio, scale, context().seed, stream, y);
    }
    int64_t draws = 0;
    const kernels::MaskShape shape = mask_shape(like, &draws);
    const kernels::Scratch mask(draws);
    kernels::eltwise_kernels().fill(draws, 1, mask.data());
    kernels.dropout(draws, mask.data(), ratio, scale, context().seed, stream, mask.data());
    kernels.masked(shape, x, mask.data(), y);
  }

  // Axes as they lie in memory, neighbours of one kind taken together; *draws: the mask's size.
  kernels::MaskShape mask_shape(const Blob& blob, int64_t* draws) const {
    std::vector<int> order;
    for (int axis = 0; axis < blob.axes(); ++axis) order.push_back(axis);
    if (layout() == Layout::kChannelsLast && blob.axes() > 1) {
      std::rotate(order.begin() + 1, order.begin() + 2, order.end());
    }
    std::vector<int64_t> sizes;
    std::vector<bool> shared;
    for (const int axis : order) {
      if (sizes.empty() || shared.back() != shared_[axis]) {
        sizes.push_back(1);
        shared.push_back(shared_[axis]);
      }
      sizes.back() *= blob.shape(axis);
    }
    kernels::MaskShape out{sizes, std::vector<int64_t>(sizes.size(), 0)};
    *draws = 1;
    for (size_t i = sizes.size(); i-- > 0;) {
      if (shared[i]) continue;
      out.strides[i] = *draws;
      *draws *= sizes[i];
    }
    return out;
  }

  std::vector<bool> shared_;  // per axis
  int64_t draws_ = 0;         // forward passes in TRAIN
};

PYDL_REGISTER_LAYER("Dropout", Dropout,
                    "In TRAIN sets elements to 0 at random, with the given probability, and scales "
                    "the others up to keep the mean. In TEST the identity. Elements along a "
                    "shared_axis are dropped together: whole channels (spatial dropout), or one "
                    "mask for all steps of a sequence (variational dropout).");

}  // namespace pydl
