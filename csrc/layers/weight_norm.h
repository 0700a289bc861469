// Weights as a length times a direction (Salimans & Kingma 2016, arXiv:1602.07868): in each row
// w = g v / |v|, as torch.nn.utils.weight_norm has it with dim 0.
#pragma once

#include <vector>

#include "layers/weights_cache.h"
#include "pydl/layer.h"

namespace pydl {

// v: (N, ...)   g: (N, 1, ...), |v| at the start, so that w = v
class WeightNorm {
 public:
  // Of a g for weights of that shape.
  static Shape length_shape(const Shape& v);
  static void SetLengths(const Blob& v, Blob* g);

  // w, made again where v or g changed. A row of zeros stays one.
  const Blob& weights(const Blob& v, const Blob& g);
  // Zeros, to which a layer adds the gradient of w.
  float* clear_gradient() {
    dw_.assign(static_cast<size_t>(w_.count()), 0);
    return dw_.data();
  }
  // From that gradient those of v and g, which are added to; null: not wanted.
  //   dg = dw . v / |v|;  dv = g / |v| (dw - dg v / |v|)
  void Backward(const Blob& v, const Blob& g, float* dv, float* dg) const;

 private:
  Blob w_;
  std::vector<float> dw_;
  WeightsCache v_cache_, g_cache_;
};

}  // namespace pydl
