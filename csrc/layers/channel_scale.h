// What a layer that fuses others has to know of them.
#pragma once

#include "pydl/layer.h"

namespace pydl {

// y = scale[c] x + bias[c] with learned blobs (C): a Scale layer along the channels.
class ChannelScale {
 public:
  virtual ~ChannelScale() = default;
  virtual bool along_channels() const = 0;  // false: over other axes, or by a second bottom
  virtual Blob* scale_blob() const = 0;
  virtual Blob* bias_blob() const = 0;  // null: none
  // Where their gradients are added; null: they get none.
  virtual float* scale_diff() const = 0;
  virtual float* bias_diff() const = 0;
};

// y = a[c] x + b[c] where a and b do not depend on x: BatchNorm by running statistics, Scale, Bias.
class ChannelAffine {
 public:
  virtual ~ChannelAffine() = default;
  virtual bool is_affine() const = 0;
  // a, b: (C), of what comes before; made those of both together.
  virtual void compose(float* a, float* b) const = 0;
};

}  // namespace pydl
