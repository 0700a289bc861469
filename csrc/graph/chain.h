// Which layers run: those that no head of a chain does, each with the chain that it does itself.
#pragma once

#include <vector>

#include "pydl/net.h"

namespace pydl::graph {

// A layer with its chain, as it sees them: its own bottoms and the others of a sum, the last top.
struct ChainEnds {
  Blobs bottom, top;
  LayerChain layers;
};
ChainEnds chain_ends(const std::vector<LayerNode>& nodes, const LayerNode& node);

// Whether the layer's pass is done by the head of the chain that it is in.
bool chain_does(const std::vector<LayerNode>& nodes, int index, bool backward);

// Whether the layer's backward pass is its chain's as well.
inline bool chain_in_backward(const LayerNode& node) {
  return node.chained && node.layer->fuses_backward();
}

// Whether the layer has a backward pass of its own.
bool runs_backward(const std::vector<LayerNode>& nodes, int index);

// The ReLU whose backward pass the layer does on its top before its own, or null: one in a chain is
// done with the chain.
inline const LayerNode* rectifier_of(const std::vector<LayerNode>& nodes, const LayerNode& node) {
  if (node.rectifier < 0 || chain_does(nodes, node.rectifier, true)) return nullptr;
  return &nodes[node.rectifier];
}

}  // namespace pydl::graph
