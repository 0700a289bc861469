// Noise on weights for the time of a pass: Gaussian, added (Graves 2011, "Practical variational
// inference for neural networks"; Murray & Edwards 1994), and dropout, by which some are 0 and the
// others scaled up: DropConnect (Wan et al. 2013), on the recurrent weights of an LSTM or GRU the
// dropout of its hidden state (Merity et al. 2018, arXiv:1708.02182).
#pragma once

#include <cstdint>
#include <vector>

#include "pydl/net.h"

namespace pydl {

// While it is there, each param of the net with `noise` has Gaussian noise of that deviation on it
// and of one with `dropout_ratio` that part is 0, each a function of the net's seed, `pass` and the
// param's number. The weights are then put back, bit for bit, also where an error ends the pass,
// and what the pass gave to the gradient of a dropped weight is 0.
class WeightNoise {
 public:
  WeightNoise(Net* net, int64_t pass);
  ~WeightNoise();
  WeightNoise(const WeightNoise&) = delete;
  WeightNoise& operator=(const WeightNoise&) = delete;

 private:
  // Of a param while it is noisy.
  struct Clean {
    const NetParam* param;
    std::vector<float> weights;
    uint64_t mask;                // the stream that its dropout is drawn from
    std::vector<float> gradient;  // of the passes before; empty: none
  };
  void Drop(const Clean& clean, float* values) const;
  void SetAsideGradient(Clean* clean) const;
  void PutBack(const Clean& clean) const;

  Net& net_;
  std::vector<Clean> clean_;
};

}  // namespace pydl
