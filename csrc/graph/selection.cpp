#include "graph/graph.h"

namespace pydl::graph {

namespace {

// The layer that alone reads this version, if it selects from it and nothing changes the result.
int selection_of(const Graph& graph, const Version& v, const std::vector<LayerNode>& nodes) {
  if (v.readers.size() != 1) return -1;
  const int reader = v.readers[0].layer;
  if (!graph.layers[reader].layer->is_selection() || !nodes[reader].needs_backward) return -1;
  const int top = graph.layers[reader].top[0];
  for (const Version& other : graph.versions) {
    if (other.previous == top && other.blob == graph.versions[top].blob) return -1;
  }
  return reader;
}

}  // namespace

void rectify_after_selection(const Graph& graph, const std::vector<bool>& kept,
                             std::vector<LayerNode>* nodes) {
  for (size_t i = 0; i < nodes->size(); ++i) {
    LayerNode& node = (*nodes)[i];
    if (!node.layer->is_rectifier() || !node.needs_backward) continue;
    const Version& v = graph.versions[graph.layers[i].top[0]];
    const bool in_place = node.top[0] == node.bottom[0];
    if (!in_place || kept[v.blob] || node.loss_weight[0] != 0) continue;
    const int selection = selection_of(graph, v, *nodes);
    if (selection < 0) continue;
    LayerNode& by = (*nodes)[selection];
    if (kept[graph.versions[graph.layers[selection].top[0]].blob]) continue;
    by.rectifier = static_cast<int>(i);
    node.rectified_by = selection;
  }
}

}  // namespace pydl::graph
