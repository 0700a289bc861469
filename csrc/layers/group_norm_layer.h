// What GroupNorm and InstanceNorm share: groups of channels are normalised, image by image.
#pragma once

#include <vector>

#include "core/check.h"
#include "kernels/group_norm.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

// bottom, top: (N, C, ...)   params, if affine: gamma (C), beta (C)
template <class P>
class GroupNormLayer : public LayerOf<P> {
 public:
  Layouts layouts() const override { return Layouts::kAny; }
  DTypes dtypes() const override { return DTypes::kAny; }
  bool adds_to_diff() const override { return true; }
  bool in_place() const override { return this->phase() == Phase::kTest; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const Blob& x = *bottom[0];
    check(this->params_of().eps > 0, "eps must be positive, got ", this->params_of().eps);
    check(x.axes() >= 2, "needs a channel axis after that of the batch, but its bottom is ",
          shape_text(x.shape()));
    channels_ = x.shape(1);
    if (!this->params_of().affine) return;
    FillerParams ones;
    ones.value = 1;
    this->AddParam({channels_}, &ones);
    this->AddParam({channels_});
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() >= 2 && x.shape(1) == channels_, "was set up for ", channels_,
          " channels, but its bottom is now ", shape_text(x.shape()));
    shape_ = {x.shape(0), groups(channels_), channels_, x.count(2), false};
    check(channels_ * shape_.inner > 0, "there is nothing to normalise in its bottom of shape ",
          shape_text(x.shape()));
    CheckSize(x, channels_ / shape_.groups * shape_.inner);
    mean_.resize(shape_.n * shape_.groups);
    rstd_.resize(mean_.size());
    if (top[0] != bottom[0]) top[0]->ReshapeLike(x);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(this->format());
    kernels::group_norm_kernels().forward(shape(), this->params_of().eps, x, param(0), param(1),
                                          mean_.data(), rstd_.data(),
                                          top[0]->mutable_data(this->format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const bool add = down[0] == Propagate::kAdd;
    Array dx;
    if (down[0] != Propagate::kNo) {
      dx = add ? bottom[0]->update_diff(this->format()) : bottom[0]->mutable_diff(this->format());
    }
    kernels::group_norm_kernels().backward(shape(), bottom[0]->data(this->format()), param(0),
                                           mean_.data(), rstd_.data(), top[0]->diff(this->format()),
                                           add, gradient(0), gradient(1), dx);
  }

 protected:
  // Into how many groups so many channels are cut; throws pydl::Error if they cannot be.
  virtual int64_t groups(int64_t channels) const = 0;
  // `size`: values that share a mean.
  virtual void CheckSize(const Blob& /*bottom*/, int64_t /*size*/) const {}

 private:
  kernels::GroupNormShape shape() const {
    kernels::GroupNormShape s = shape_;
    s.channels_last = this->layout() == Layout::kChannelsLast;
    return s;
  }
  const float* param(size_t i) const {
    return this->params_of().affine ? this->params()[i]->data() : nullptr;
  }
  float* gradient(size_t i) const {
    const bool wanted = this->params_of().affine && this->param_propagate(i);
    return wanted ? this->params()[i]->update_diff() : nullptr;
  }

  int64_t channels_ = 0;
  kernels::GroupNormShape shape_{};
  std::vector<float> mean_, rstd_;  // (N, groups)
};

}  // namespace pydl
