#include "graph/graph.h"

namespace pydl::graph {

namespace {

// From the inputs down to the loss: does a learnable blob lie above?
std::vector<std::vector<bool>> wanted_bottoms(const Graph& graph,
                                              const std::vector<LayerNode>& nodes,
                                              const std::vector<NetParam>& params, bool force,
                                              std::vector<bool>* layers) {
  std::vector<bool> version(graph.versions.size(), false);
  std::vector<std::vector<bool>> bottoms;
  for (size_t i = 0; i < graph.layers.size(); ++i) {
    const GraphLayer& g = graph.layers[i];
    std::vector<bool> wants;
    bool any = force;
    for (size_t b = 0; b < g.bottom.size(); ++b) {
      const std::vector<bool>& given = g.spec->propagate_down;
      const bool want = force || (given.empty() ? version[g.bottom[b]] : bool(given[b]));
      wants.push_back(want && g.layer->can_propagate(static_cast<int>(b)));
      any = any || want;
    }
    for (int id : nodes[i].param_ids) any = any || params[id].lr_mult != 0;
    for (int top : g.top) version[top] = any;
    layers->push_back(any);
    bottoms.push_back(std::move(wants));
  }
  return bottoms;
}

}  // namespace

Gradients find_gradients(const Graph& graph, const std::vector<LayerNode>& nodes,
                         const std::vector<NetParam>& params, bool force) {
  Gradients out;
  const auto wants = wanted_bottoms(graph, nodes, params, force, &out.layer);
  out.bottom.resize(graph.layers.size());
  // From the loss back up: does a gradient arrive, and is it the first to be written?
  std::vector<bool> arrives(graph.versions.size(), false);
  for (int i = static_cast<int>(graph.layers.size()) - 1; i >= 0; --i) {
    const GraphLayer& g = graph.layers[i];
    bool arriving = force;
    for (size_t t = 0; t < g.top.size(); ++t) {
      if (nodes[i].loss_weight[t] != 0) arrives[g.top[t]] = true;
      arriving = arriving || arrives[g.top[t]];
    }
    out.layer[i] = out.layer[i] && arriving;
    out.bottom[i].assign(g.bottom.size(), Propagate::kNo);
    if (!out.layer[i]) continue;
    for (size_t b = 0; b < g.bottom.size(); ++b) {
      if (!wants[i][b]) continue;
      const Version& version = graph.versions[g.bottom[b]];
      const bool has_weight = nodes[version.producer].loss_weight[version.top] != 0;
      const bool first = !arrives[g.bottom[b]] && !has_weight;
      out.bottom[i][b] = first ? Propagate::kWrite : Propagate::kAdd;
      arrives[g.bottom[b]] = true;
    }
  }
  return out;
}

}  // namespace pydl::graph
