// What LayerNorm and RMSNorm share: each row is normalised by its own statistics.
#pragma once

#include "core/check.h"
#include "kernels/row_norm.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

// bottom, top: (rows..., n...)   params, where they are learned: gamma (n...), beta (n...)
template <class P>
class RowNormLayer : public LayerOf<P> {
 public:
  DTypes dtypes() const override { return DTypes::kAny; }
  bool adds_to_diff() const override { return true; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    check(this->params_of().eps > 0, "eps must be positive, got ", this->params_of().eps);
    const Shape& shape = bottom[0]->shape();
    normalized_ = Shape(shape.begin() + axis(*bottom[0]), shape.end());
    FillerParams ones;
    ones.value = 1;
    if (has_scale()) this->AddParam(normalized_, &ones);
    if (has_bias()) this->AddParam(normalized_);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    const Shape now(x.shape().begin() + axis(x), x.shape().end());
    check(now == normalized_, "was set up to normalise ", shape_text(normalized_),
          " values, but its bottom ", shape_text(x.shape()), " now has ", shape_text(now));
    shape_ = {x.count(0, axis(x)), x.count(axis(x)), centered()};
    check(shape_.n > 0, "there is nothing to normalise in its bottom of shape ",
          shape_text(x.shape()), " from axis ", axis(x), " on");
    mean_.resize(centered() ? shape_.rows : 0);
    rstd_.resize(shape_.rows);
    top[0]->ReshapeLike(x);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::row_norm_kernels().forward(shape_, this->params_of().eps,
                                        bottom[0]->data(this->format()), gamma(),
                                        has_bias() ? this->params()[1]->data() : nullptr, mean(),
                                        rstd_.data(), top[0]->mutable_data(this->format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const bool add = down[0] == Propagate::kAdd;
    Array dx;
    if (down[0] != Propagate::kNo) {
      dx = add ? bottom[0]->update_diff(this->format()) : bottom[0]->mutable_diff(this->format());
    }
    kernels::row_norm_kernels().backward(shape_, bottom[0]->data(this->format()), gamma(), mean(),
                                         rstd_.data(), top[0]->diff(this->format()), add,
                                         has_scale() ? gradient(0) : nullptr,
                                         has_bias() ? gradient(1) : nullptr, dx);
  }

 protected:
  virtual bool centered() const = 0;
  virtual bool has_scale() const = 0;
  virtual bool has_bias() const = 0;

 private:
  int axis(const Blob& x) const { return x.CanonicalAxis(this->params_of().axis); }
  const float* gamma() const { return has_scale() ? this->params()[0]->data() : nullptr; }
  float* mean() { return centered() ? mean_.data() : nullptr; }
  float* gradient(size_t i) const {
    return this->param_propagate(i) ? this->params()[i]->update_diff() : nullptr;
  }

  Shape normalized_;
  kernels::RowNormShape shape_{};
  std::vector<float> mean_, rstd_;  // per row
};

}  // namespace pydl
