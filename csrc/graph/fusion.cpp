#include "graph/graph.h"

namespace pydl::graph {

// A layer is fused into the one that writes its bottom when it works in place on it (so that both
// results have one name and nobody can see the one in between) and that one offers to do it.
void fuse(const Graph& graph, std::vector<LayerNode>* nodes) {
  for (size_t i = 1; i < graph.layers.size(); ++i) {
    const GraphLayer& g = graph.layers[i];
    if (g.bottom.size() != 1 || g.top.size() != 1) continue;
    const Version& bottom = graph.versions[g.bottom[0]];
    if (bottom.blob != graph.versions[g.top[0]].blob) continue;
    const LayerNode& before = (*nodes)[bottom.producer];
    if (before.fused || before.fuses >= 0 || graph.layers[bottom.producer].top.size() != 1)
      continue;
    if (!before.layer->CanFuse(*g.layer)) continue;
    (*nodes)[bottom.producer].fuses = static_cast<int>(i);
    (*nodes)[i].fused = true;
  }
}

}  // namespace pydl::graph
