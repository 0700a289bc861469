#include "graph/graph.h"

namespace pydl::graph {

void share_views(const Graph& graph, std::vector<LayerNode>* nodes) {
  for (size_t i = 0; i < graph.layers.size(); ++i) {
    const GraphLayer& g = graph.layers[i];
    LayerNode& node = (*nodes)[i];
    if (!g.layer->is_view()) continue;
    for (Blob* top : node.top) top->ShareData(*node.bottom[0]);
    // With several tops or readers the diffs are summed, so each needs its own.
    const Version& bottom = graph.versions[g.bottom[0]];
    const bool weighted = (*nodes)[bottom.producer].loss_weight[bottom.top] != 0;
    node.view = g.top.size() == 1 && bottom.readers.size() == 1 && !weighted;
    if (node.view) node.top[0]->ShareDiff(*node.bottom[0]);
  }
}

}  // namespace pydl::graph
