// Noise on weights for the time of a pass (Graves 2011, "Practical variational inference for neural
// networks"; Murray & Edwards 1994).
#pragma once

#include <cstdint>
#include <vector>

#include "pydl/net.h"

namespace pydl {

// While it is there, each param of the net with `noise` has Gaussian noise of that deviation on it,
// a function of the net's seed, `pass` and the param's number. The weights are then put back, bit
// for bit, also where an error ends the pass.
class WeightNoise {
 public:
  WeightNoise(Net* net, int64_t pass);
  ~WeightNoise();
  WeightNoise(const WeightNoise&) = delete;
  WeightNoise& operator=(const WeightNoise&) = delete;

 private:
  Net& net_;
  std::vector<float> clean_;  // of those params, one after another
};

}  // namespace pydl
