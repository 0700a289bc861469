#include "layers/weight_norm.h"

#include <cmath>

#include "kernels/loss.h"

namespace pydl {

namespace {

std::vector<double> row_dots(const Blob& like, const float* a, const float* b) {
  std::vector<double> dots(like.shape(0));
  kernels::loss_kernels().dots(like.shape(0), like.count(1), a, b, dots.data());
  return dots;
}

std::vector<double> row_lengths(const Blob& v) {
  std::vector<double> lengths = row_dots(v, v.data(), v.data());
  for (double& each : lengths) each = std::sqrt(each);
  return lengths;
}

}  // namespace

Shape WeightNorm::length_shape(const Shape& v) {
  Shape shape(v.size(), 1);
  shape[0] = v[0];
  return shape;
}

void WeightNorm::SetLengths(const Blob& v, Blob* g) {
  const std::vector<double> lengths = row_lengths(v);
  std::copy(lengths.begin(), lengths.end(), g->mutable_data());
}

const Blob& WeightNorm::weights(const Blob& v, const Blob& g) {
  const bool stale = v_cache_.stale(v);
  if (!g_cache_.stale(g) && !stale) return w_;
  w_.ReshapeLike(v);
  const std::vector<double> lengths = row_lengths(v);
  std::vector<float> scale(lengths.size()), none(lengths.size(), 0);
  for (size_t i = 0; i < scale.size(); ++i) {
    scale[i] = lengths[i] > 0 ? static_cast<float>(g.data()[i] / lengths[i]) : 0;
  }
  kernels::loss_kernels().combine_rows(v.shape(0), v.count(1), scale.data(), v.data(), none.data(),
                                       v.data(), false, w_.mutable_data());
  return w_;
}

void WeightNorm::Backward(const Blob& v, const Blob& g, float* dv, float* dg) const {
  const std::vector<double> lengths = row_lengths(v), dots = row_dots(v, dw_.data(), v.data());
  std::vector<float> of_dw(lengths.size(), 0), of_v(lengths.size(), 0);
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] == 0) continue;
    const double slope = dots[i] / lengths[i], scale = g.data()[i] / lengths[i];
    if (dg) dg[i] += static_cast<float>(slope);
    of_dw[i] = static_cast<float>(scale);
    of_v[i] = static_cast<float>(-scale * slope / lengths[i]);
  }
  if (!dv) return;
  kernels::loss_kernels().combine_rows(v.shape(0), v.count(1), of_dw.data(), dw_.data(),
                                       of_v.data(), v.data(), true, dv);
}

}  // namespace pydl
