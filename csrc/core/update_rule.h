// How a solver turns gradients into new weights; one file per rule registers itself here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/memory.h"
#include "pydl/solver.h"

namespace pydl {

// What an update rule gets, per parameter.
struct UpdateStep {
  int64_t offset, count;  // in the arenas of weights and history
  float grad_scale;       // clipping and 1 / iter_size, to be applied to the gradient first
  float rate;             // of this parameter
  float weight_decay;     // of this parameter
  int iter;
};

class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  virtual int history_count() const = 0;  // arrays as large as the weights
  // w -= update. The gradient, of the `count` values, is left holding the update, as in Caffe.
  virtual void Update(const UpdateStep& step, float* weights, float* gradient,
                      const std::vector<float*>& history) = 0;
};

// Throws pydl::Error naming the known types.
std::unique_ptr<UpdateRule> make_update_rule(const SolverSpec& spec);

}  // namespace pydl
