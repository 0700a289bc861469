#include "core/weight_noise.h"

#include <algorithm>

#include "core/random.h"
#include "kernels/stochastic.h"

namespace pydl {

WeightNoise::WeightNoise(Net* net, int64_t pass) : net_(*net) {
  const std::vector<NetParam>& params = net_.params();
  for (size_t i = 0; i < params.size(); ++i) {
    const NetParam& p = params[i];
    if (p.noise == 0) continue;
    float* weights = net_.weights() + p.offset;
    const int64_t count = p.blob->count();
    clean_.insert(clean_.end(), weights, weights + count);
    const uint64_t stream = stream_of("weight noise") + params.size() * static_cast<uint64_t>(pass);
    kernels::stochastic_kernels().add_gaussian(count, weights, p.noise, net_.options().seed,
                                               stream + i, weights);
  }
  if (!clean_.empty()) net_.weights_changed();
}

WeightNoise::~WeightNoise() {
  const float* clean = clean_.data();
  for (const NetParam& p : net_.params()) {
    if (p.noise == 0) continue;
    std::copy_n(clean, p.blob->count(), net_.weights() + p.offset);
    clean += p.blob->count();
  }
  if (!clean_.empty()) net_.weights_changed();
}

}  // namespace pydl
