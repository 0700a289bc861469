#include "layers/attention_core.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pydl {

Sequences::Sequences(const char* what, const Blob& blob, int64_t n) {
  check(blob.axes() == 3, what, " must be sequences x steps x channels, but is ",
        shape_text(blob.shape()));
  batch = blob.shape(0), steps = blob.shape(1), channels = blob.shape(2);
  check(n < 0 || batch == n, what, " of shape ", shape_text(blob.shape()), " has ", batch,
        " sequences, but the first bottom has ", n);
}

int64_t head_size(int64_t channels, int64_t heads, const char* what) {
  check(heads > 0, "num_heads must be positive, got ", heads);
  check(channels % heads == 0, what, " has ", channels, " channels, which ", heads,
        " heads cannot share evenly; choose num_heads among the divisors of ", channels);
  return channels / heads;
}

void AttentionCore::Reshape(const kernels::AttentionShape& shape, const Blob* mask) {
  shape_ = shape;
  lse_.resize(shape.batch * shape.heads * shape.queries);
  mask_.clear();
  if (!mask) return;
  const Shape& m = mask->shape();
  check(m == Shape{shape.batch} || m == Shape{shape.batch, shape.keys},
        "its mask must hold the length of each of ", shape.batch, " sequences, or a value for ",
        "each of their ", shape.keys, " keys (", shape.batch, "x", shape.keys, "), but is ",
        shape_text(m));
}

void AttentionCore::ReadMask(const Blob& mask) {
  const float* values = mask.data();
  mask_.resize(shape_.batch * shape_.keys);
  if (mask.axes() == 2) {
    std::copy_n(values, mask_.size(), mask_.begin());
    return;
  }
  for (int64_t n = 0; n < shape_.batch; ++n) {
    const float length = values[n];
    const bool fits = length >= 0 && length <= static_cast<float>(shape_.keys);
    check(fits && length == std::floor(length), "sequence ", n, " of its mask has length ", length,
          ", but must have a whole number of keys, 0 to ", shape_.keys);
    const auto row = mask_.begin() + n * shape_.keys;
    std::fill(row, row + shape_.keys, 0.0f);
    std::fill(row, row + static_cast<int64_t>(length), 1.0f);
  }
}

void AttentionCore::Forward(const AttentionArrays<ConstArray>& x, const Blob* mask, Array out) {
  if (mask) ReadMask(*mask);
  kernels::attention_kernels().forward(shape_, x.q, x.k, x.v, this->mask(), out, lse_.data());
}

void AttentionCore::Backward(const AttentionArrays<ConstArray>& x, ConstArray out, ConstArray dout,
                             const AttentionArrays<Array>& dx) const {
  kernels::attention_kernels().backward(shape_, x.q, x.k, x.v, mask(), out, lse_.data(), dout, dx.q,
                                        dx.k, dx.v);
}

void AttentionCore::Weights(ConstArray q, ConstArray k, float* p) const {
  kernels::attention_kernels().weights(shape_, q, k, mask(), lse_.data(), p);
}

double AttentionCore::flops() const {
  return 4.0 * static_cast<double>(shape_.batch * shape_.heads * shape_.size) *
         static_cast<double>(shape_.queries * shape_.keys);
}

}  // namespace pydl
