#include <algorithm>

#include "graph/graph.h"

namespace pydl::graph {

namespace {

class Fusion {
 public:
  Fusion(const Graph& graph, const std::vector<bool>& kept, Keep keep, bool backward,
         std::vector<LayerNode>* nodes)
      : graph_(graph), kept_(kept), keep_(keep), backward_(backward), nodes_(*nodes) {}

  void grow_chain(int head) {
    LayerNode& node = nodes_[head];
    if (node.chain_head >= 0 || graph_.layers[head].top.size() != 1) return;
    LayerChain chain;
    for (int last = head, next; (next = follower(last)) >= 0; last = next) {
      const bool with_backward = nodes_[next].needs_backward && backward_;
      if (!node.layer->CanFuse(chain, *nodes_[next].layer, with_backward)) return;
      if (!add_other_bottom(head, next, with_backward)) return;
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
    if (one_name) return next;
    // In its own backward pass it would read what is never written.
    const bool reads = backward_ && !nodes_[head_of(layer)].layer->fuses_backward();
    return keep_ == Keep::kOutputs && !kept_[v.blob] && !reads ? next : -1;
  }

  int head_of(int layer) const {
    return nodes_[layer].chain_head < 0 ? layer : nodes_[layer].chain_head;
  }

  // Of a sum: what else it adds must be there when `head` runs, and its gradient must not yet be
  // when `head` runs backward and writes it.
  bool add_other_bottom(int head, int sum, bool with_backward) {
    const std::vector<int>& bottoms = graph_.layers[sum].bottom;
    if (bottoms.size() == 1) return true;
    if (bottoms.size() != 2 || bottoms[0] == bottoms[1]) return false;
    const int mine = nodes_[head].chain.empty() ? head : nodes_[head].chain.back();
    const size_t other = bottoms[0] == graph_.layers[mine].top[0] ? 1 : 0;
    const Version& added = graph_.versions[bottoms[other]];
    if (added.producer >= head) return false;
    const auto between = [=](const Use& use) { return head < use.layer && use.layer < sum; };
    const bool written = nodes_[sum].down[other] == Propagate::kAdd ||
                         std::any_of(added.readers.begin(), added.readers.end(), between);
    if (with_backward && written) return false;
    nodes_[head].chain_bottoms.push_back(nodes_[sum].bottom[other]);
    nodes_[head].chain_down.push_back(nodes_[sum].down[other]);
    return true;
  }

  const Graph& graph_;
  const std::vector<bool>& kept_;
  const Keep keep_;
  const bool backward_;
  std::vector<LayerNode>& nodes_;
};

}  // namespace

void fuse(const Graph& graph, const std::vector<bool>& kept, Keep keep, bool backward,
          std::vector<LayerNode>* nodes) {
  Fusion fusion(graph, kept, keep, backward, nodes);
  for (int i = 0; i < static_cast<int>(graph.layers.size()); ++i) fusion.grow_chain(i);
}

void share_gradients(const Graph& graph, const std::vector<bool>& kept,
                     std::vector<LayerNode>* nodes) {
  const auto is_view = [&](const Use& use) { return (*nodes)[use.layer].view; };
  for (size_t i = 0; i < nodes->size(); ++i) {
    const LayerNode& sum = (*nodes)[i];
    if (sum.chain_head < 0 || sum.bottom.size() != 2) continue;
    const LayerNode& head = (*nodes)[sum.chain_head];
    if (head.chain_down != Propagates{Propagate::kWrite} || !head.layer->fuses_backward()) continue;
    const size_t other = sum.bottom[0] == head.chain_bottoms[0] ? 0 : 1;
    const Version& added = graph.versions[graph.layers[i].bottom[other]];
    const Version& top = graph.versions[graph.layers[head.chain.back()].top[0]];
    if (kept[added.blob] || kept[top.blob]) continue;
    if (std::any_of(top.readers.begin(), top.readers.end(), is_view)) continue;
    (*nodes)[head.chain.back()].top[0]->ShareDiff(*sum.bottom[other]);
  }
}

}  // namespace pydl::graph
