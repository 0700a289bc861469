#include <algorithm>

#include "graph/graph.h"

namespace pydl::graph {

namespace {

class Fusion {
 public:
  Fusion(const Graph& graph, const std::vector<bool>& kept, bool outputs_only,
         std::vector<LayerNode>* nodes)
      : graph_(graph), kept_(kept), outputs_only_(outputs_only), nodes_(*nodes) {}

  void grow_chain(int head) {
    LayerNode& node = nodes_[head];
    if (node.chain_head >= 0 || graph_.layers[head].top.size() != 1) return;
    LayerChain chain;
    for (int last = head, next; (next = follower(last)) >= 0; last = next) {
      const bool with_backward = nodes_[next].needs_backward && !outputs_only_;
      if (!node.layer->CanFuse(chain, *nodes_[next].layer, with_backward)) return;
      if (!add_other_bottom(head, next)) return;
      chain.push_back(nodes_[next].layer.get());
      node.chain.push_back(next);
      nodes_[next].chain_head = head;
    }
  }

 private:
  // The layer that alone reads the top of `layer`, if nobody can see that top: the two have one
  // name, or only outputs are kept.
  int follower(int layer) const {
    const Version& v = graph_.versions[graph_.layers[layer].top[0]];
    if (v.readers.size() != 1 || nodes_[layer].loss_weight[0] != 0) return -1;
    const int next = v.readers[0].layer;
    if (graph_.layers[next].top.size() != 1 || nodes_[next].loss_weight[0] != 0) return -1;
    const Version& top = graph_.versions[graph_.layers[next].top[0]];
    const bool one_name = top.previous >= 0 && &graph_.versions[top.previous] == &v;
    return one_name || (outputs_only_ && !kept_[v.blob]) ? next : -1;
  }

  // Of a sum: what else it adds must be there when `head` runs.
  bool add_other_bottom(int head, int sum) {
    const std::vector<int>& bottoms = graph_.layers[sum].bottom;
    if (bottoms.size() == 1) return true;
    if (bottoms.size() != 2 || bottoms[0] == bottoms[1]) return false;
    const int mine = nodes_[head].chain.empty() ? head : nodes_[head].chain.back();
    const size_t other = bottoms[0] == graph_.layers[mine].top[0] ? 1 : 0;
    if (graph_.versions[bottoms[other]].producer >= head) return false;
    nodes_[head].chain_bottoms.push_back(nodes_[sum].bottom[other]);
    nodes_[head].chain_down.push_back(nodes_[sum].down[other]);
    return true;
  }

  const Graph& graph_;
  const std::vector<bool>& kept_;
  const bool outputs_only_;
  std::vector<LayerNode>& nodes_;
};

}  // namespace

void fuse(const Graph& graph, const std::vector<bool>& kept, bool outputs_only,
          std::vector<LayerNode>* nodes) {
  Fusion fusion(graph, kept, outputs_only, nodes);
  for (int i = 0; i < static_cast<int>(graph.layers.size()); ++i) fusion.grow_chain(i);
}

}  // namespace pydl::graph
