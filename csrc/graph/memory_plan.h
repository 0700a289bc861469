// One arena for what a net writes and nobody is to see: data, diffs, and gradients that are given
// away as soon as they are complete. What is not in use at the same time shares memory.
//
// Time is counted in steps: of n layers, layer i runs forward in step i and backward in step
// 2 n - 1 - i, a layer of a chain in the step of the chain's head.
#pragma once

#include <cstdint>
#include <vector>

#include "pydl/net.h"

namespace pydl::graph {

// Where a tensor is from step `first`, in which it is written, to step `last`.
struct Placement {
  Tensor* tensor;
  Format format;
  Shape shape;
  int first, last;
  int64_t bytes;
  int64_t offset = 0;
  int repeat = -1;  // the layer that writes it once more, before step `first`
  int param = -1;   // whose gradient it is
};

struct MemoryPlan {
  std::vector<Placement> fixed;   // tensors that have one place
  std::vector<Placement> moving;  // those that take it when `first` begins, in that order
  std::vector<bool> streamed;     // per param: its only layer gives the gradient away in parts
  int64_t bytes = 0;
};

struct PlanOptions {
  bool backward = false;   // there is a backward pass
  bool gradients = false;  // which gives the params' gradients away
};

// Of tensors that are not `kept` (per blob). LayerNode.chained tells which chains run as one. A top
// that its layer can repeat is given up between the forward and the backward pass.
MemoryPlan plan_memory(const std::vector<LayerNode>& nodes, const std::vector<NetParam>& params,
                       const std::vector<std::shared_ptr<Blob>>& blobs,
                       const std::vector<bool>& kept, PlanOptions options);

}  // namespace pydl::graph
