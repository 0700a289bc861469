#include "core/weight_noise.h"

#include <algorithm>

#include "core/random.h"
#include "kernels/activation.h"
#include "kernels/eltwise.h"
#include "kernels/stochastic.h"

namespace pydl {

WeightNoise::WeightNoise(Net* net, int64_t pass) : net_(*net) {
  const std::vector<NetParam>& params = net_.params();
  for (size_t i = 0; i < params.size(); ++i) {
    const NetParam& p = params[i];
    if (p.noise == 0 && p.dropout_ratio == 0) continue;
    float* weights = net_.weights() + p.offset;
    const int64_t count = p.blob->count();
    const uint64_t number = params.size() * static_cast<uint64_t>(pass) + i;
    clean_.push_back({&p, {weights, weights + count}, stream_of("weight dropout") + number, {}});
    if (p.noise > 0) {
      kernels::stochastic_kernels().add_gaussian(count, weights, p.noise, net_.options().seed,
                                                 stream_of("weight noise") + number, weights);
    }
    if (p.dropout_ratio > 0) {
      Drop(clean_.back(), weights);
      SetAsideGradient(&clean_.back());
    }
  }
  if (!clean_.empty()) net_.weights_changed();
}

WeightNoise::~WeightNoise() {
  for (const Clean& clean : clean_) PutBack(clean);
  if (!clean_.empty()) net_.weights_changed();
}

void WeightNoise::Drop(const Clean& clean, float* values) const {
  const float ratio = clean.param->dropout_ratio;
  kernels::activation_kernels().dropout(clean.param->blob->count(), values, ratio, 1 / (1 - ratio),
                                        net_.options().seed, clean.mask, values);
}

// So that the mask falls on what this pass adds to it alone.
void WeightNoise::SetAsideGradient(Clean* clean) const {
  Blob& blob = *clean->param->blob;
  if (blob.diff_tensor().is_clear()) return;
  clean->gradient.assign(blob.diff(), blob.diff() + blob.count());
  blob.diff_tensor().clear();
}

void WeightNoise::PutBack(const Clean& clean) const {
  std::copy(clean.weights.begin(), clean.weights.end(), net_.weights() + clean.param->offset);
  if (clean.param->dropout_ratio == 0) return;
  Blob& blob = *clean.param->blob;
  if (!blob.diff_tensor().is_clear()) Drop(clean, blob.update_diff());
  if (clean.gradient.empty()) return;
  float* sum = blob.update_diff();
  kernels::eltwise_kernels().add(blob.count(), sum, clean.gradient.data(), sum);
}

}  // namespace pydl
