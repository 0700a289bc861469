#include "graph/chain.h"

namespace pydl::graph {

ChainEnds chain_ends(const std::vector<LayerNode>& nodes, const LayerNode& node) {
  if (!node.chained) return {node.bottom, node.top, {}};
  ChainEnds ends{node.bottom, nodes[node.chain.back()].top, {}};
  ends.bottom.insert(ends.bottom.end(), node.chain_bottoms.begin(), node.chain_bottoms.end());
  for (int i : node.chain) ends.layers.push_back(nodes[i].layer.get());
  return ends;
}

bool chain_does(const std::vector<LayerNode>& nodes, int index, bool backward) {
  const int head = nodes[index].chain_head;
  if (head < 0 || !nodes[head].chained) return false;
  return !backward || nodes[head].layer->fuses_backward();
}

bool runs_backward(const std::vector<LayerNode>& nodes, int index) {
  const LayerNode& node = nodes[index];
  return node.needs_backward && node.rectified_by < 0 && !chain_does(nodes, index, true);
}

}  // namespace pydl::graph
