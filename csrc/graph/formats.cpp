#include <numeric>

#include "graph/graph.h"

namespace pydl::graph {

namespace {

// Union-find over blobs.
class Groups {
 public:
  explicit Groups(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0); }
  int find(int i) { return parent_[i] == i ? i : parent_[i] = find(parent_[i]); }
  void join(int a, int b) { parent_[find(a)] = find(b); }

 private:
  std::vector<int> parent_;
};

std::vector<int> blobs_of(const Graph& graph, const GraphLayer& g) {
  std::vector<int> out;
  for (int v : g.bottom) out.push_back(graph.versions[v].blob);
  for (int v : g.top) out.push_back(graph.versions[v].blob);
  return out;
}

bool has_channels(const Blob& blob) { return blob.axes() >= 3; }

}  // namespace

void choose_formats(const Graph& graph, const std::vector<bool>& pinned,
                    const std::vector<std::shared_ptr<Blob>>& blobs) {
  Groups groups(blobs.size());
  for (const GraphLayer& g : graph.layers) {
    if (g.layer->layouts() != Layouts::kAny) continue;
    const std::vector<int> ids = blobs_of(graph, g);
    for (size_t i = 1; i < ids.size(); ++i) groups.join(ids[0], ids[i]);
  }
  std::vector<bool> channels_last(blobs.size(), false);
  for (const GraphLayer& g : graph.layers) {
    if (g.layer->layouts() != Layouts::kChannelsLast) continue;
    for (int v : g.top) channels_last[groups.find(graph.versions[v].blob)] = true;
    for (int v : g.bottom) {  // a net's input does not make its other readers channels-last
      if (!pinned[graph.versions[v].blob]) {
        channels_last[groups.find(graph.versions[v].blob)] = true;
      }
    }
  }
  for (size_t b = 0; b < blobs.size(); ++b) {
    const bool last = channels_last[groups.find(static_cast<int>(b))] && !pinned[b];
    blobs[b]->set_layout(last && has_channels(*blobs[b]) ? Layout::kChannelsLast : Layout::kPlain);
  }
  for (size_t i = 0; i < graph.layers.size(); ++i) {
    Layer* layer = graph.layers[i].layer;
    const std::vector<int> ids = blobs_of(graph, graph.layers[i]);
    const bool any_last =
        layer->layouts() == Layouts::kAny && !ids.empty() && channels_last[groups.find(ids[0])];
    const bool last = layer->layouts() == Layouts::kChannelsLast || any_last;
    layer->set_layout(last ? Layout::kChannelsLast : Layout::kPlain);
  }
}

}  // namespace pydl::graph
