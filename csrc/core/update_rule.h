// How a solver turns gradients into new weights.
#pragma once

#include <vector>

#include "kernels/update.h"
#include "pydl/solver.h"

namespace pydl {

// What an update rule gets, per parameter.
struct UpdateStep {
  int64_t offset, count;  // in the arenas of weights and history
  float grad_scale;       // clipping and 1 / iter_size, to be applied to the gradient first
  float rate;             // of this parameter
  float momentum;
  float weight_decay;  // of this parameter
  int iter;
};

// One of Caffe's rules, or AdamW: a kernel, and its coefficients.
class UpdateRule {
 public:
  // Throws pydl::Error for an unknown type, naming the known ones, and for fields that are out of
  // range or that Caffe's solver of that type refuses.
  explicit UpdateRule(const SolverSpec& spec);

  int history_count() const { return type_.two ? 2 : 1; }  // arrays as large as the weights
  // w -= update. The gradient, of the `count` values, is left holding the update, as in Caffe.
  void Update(const UpdateStep& step, float* weights, float* gradient,
              const std::vector<float*>& history) const;

  struct Type {
    const char* name;
    void (*kernels::UpdateKernels::*one)(const kernels::UpdateShape&, float*, float*, float*);
    void (*kernels::UpdateKernels::*two)(const kernels::UpdateShape&, float*, float*, float*,
                                         float*);
    void (*check)(const SolverSpec&);
    // What depends on the iteration, or on the rate.
    void (*prepare)(int iter, kernels::UpdateShape*);
  };

 private:
  const Type& type_;
  kernels::UpdateShape shape_;
};

}  // namespace pydl
