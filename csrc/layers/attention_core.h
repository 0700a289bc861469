// What Attention and MultiHeadAttention share: masks, checks, and what is kept between the passes.
#pragma once

#include <vector>

#include "kernels/attention.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: x [, mask], or query, key and value [, mask].
inline bool has_mask(const Blobs& bottom) { return bottom.size() % 2 == 0; }
inline const Blob* mask_of(const Blobs& bottom) {
  return has_mask(bottom) ? bottom.back() : nullptr;
}

// Of (N, T, C); throws pydl::Error for other blobs, and those of another N.
struct Sequences {
  Sequences(const char* what, const Blob& blob, int64_t batch = -1);

  int64_t batch, steps, channels;
};

// q, k, v and out, or their gradients.
template <class A>
struct AttentionArrays {
  A q, k, v;
};

class AttentionCore {
 public:
  // mask: (N) the lengths of the sequences of keys, or (N, T_k) 0 where a key does not take part.
  void Reshape(const kernels::AttentionShape& shape, const Blob* mask);
  void Forward(const AttentionArrays<ConstArray>& x, const Blob* mask, Array out);
  void Backward(const AttentionArrays<ConstArray>& x, ConstArray out, ConstArray dout,
                const AttentionArrays<Array>& dx) const;
  // Of the last Forward: (N, heads, T_q, T_k).
  Shape weights_shape() const { return {shape_.batch, shape_.heads, shape_.queries, shape_.keys}; }
  void Weights(ConstArray q, ConstArray k, float* p) const;

  const kernels::AttentionShape& shape() const { return shape_; }
  double flops() const;

 private:
  void ReadMask(const Blob& mask);
  const float* mask() const { return mask_.empty() ? nullptr : mask_.data(); }

  kernels::AttentionShape shape_{};
  std::vector<float> mask_, lse_;  // (N, T_k) or empty; (N, heads, T_q)
};

// Values of each head; throws pydl::Error where `channels` cannot be shared out.
int64_t head_size(int64_t channels, int64_t heads, const char* what);

}  // namespace pydl
