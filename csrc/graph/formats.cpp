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
  void join_all(const std::vector<int>& ids) {
    for (size_t i = 1; i < ids.size(); ++i) join(ids[0], ids[i]);
  }

 private:
  std::vector<int> parent_;
};

std::vector<int> blobs_of(const Graph& graph, const std::vector<int>& versions) {
  std::vector<int> out;
  for (int v : versions) out.push_back(graph.versions[v].blob);
  return out;
}

std::vector<int> blobs_of(const Graph& graph, const GraphLayer& g) {
  std::vector<int> out = blobs_of(graph, g.bottom);
  for (int b : blobs_of(graph, g.top)) out.push_back(b);
  return out;
}

bool has_channels(const Blob& blob) { return blob.axes() >= 3; }

class FormatChoice {
 public:
  FormatChoice(const Graph& graph, const std::vector<bool>& pinned,
               const std::vector<std::shared_ptr<Blob>>& blobs)
      : graph_(graph), pinned_(pinned), blobs_(blobs), formats_(blobs.size()) {}

  // Blobs tied together by layers that take any layout get the same one: channels-last if a layer
  // that wants it touches them.
  void choose_layouts() {
    Groups groups(blobs_.size());
    for (const GraphLayer& g : graph_.layers) {
      if (g.layer->layouts() == Layouts::kAny) groups.join_all(blobs_of(graph_, g));
    }
    std::vector<bool> wanted(blobs_.size(), false);
    for (const GraphLayer& g : graph_.layers) {
      if (g.layer->layouts() == Layouts::kChannelsLast) want(g, &groups, &wanted);
    }
    for (size_t i = 0; i < graph_.layers.size(); ++i) {
      Layer* layer = graph_.layers[i].layer;
      const bool last = layer->layouts() == Layouts::kChannelsLast ||
                        (layer->layouts() == Layouts::kAny && first_is(i, wanted, &groups));
      set_layout(layer, last ? Layout::kChannelsLast : Layout::kPlain);
    }
    for (size_t b = 0; b < blobs_.size(); ++b) {
      const bool last = wanted[groups.find(static_cast<int>(b))] && !pinned_[b];
      formats_[b].layout =
          last && has_channels(*blobs_[b]) ? Layout::kChannelsLast : Layout::kPlain;
    }
  }

  // Likewise; but a group that a float32 layer touches stays float32, so that losses see the full
  // precision of what is computed for them.
  void choose_dtypes() {
    Groups groups(blobs_.size());
    for (const GraphLayer& g : graph_.layers) {
      if (g.layer->dtypes() == DTypes::kAny) groups.join_all(blobs_of(graph_, g));
    }
    std::vector<bool> wanted(blobs_.size(), false), refused(blobs_.size(), false);
    for (const GraphLayer& g : graph_.layers) {
      if (g.layer->dtypes() == DTypes::kBFloat16) want(g, &groups, &wanted);
      if (g.layer->dtypes() == DTypes::kFloat32) want(g, &groups, &refused);
      if (g.layer->dtypes() == DTypes::kTops) want_bottoms(g, &groups, &refused);
    }
    for (size_t b = 0; b < blobs_.size(); ++b) {
      if (refused[b]) wanted[b] = false;
    }
    for (size_t i = 0; i < graph_.layers.size(); ++i) {
      Layer* layer = graph_.layers[i].layer;
      const bool low = layer->dtypes() == DTypes::kBFloat16 ||
                       (layer->dtypes() == DTypes::kAny && first_is(i, wanted, &groups));
      if (low) layer->set_format({Device::kCpu, layer->layout(), DType::kBFloat16});
    }
    for (size_t b = 0; b < blobs_.size(); ++b) {
      const bool low = wanted[groups.find(static_cast<int>(b))] && !pinned_[b];
      if (low) formats_[b].dtype = DType::kBFloat16;
    }
  }

  void apply() const {
    for (size_t b = 0; b < blobs_.size(); ++b) blobs_[b]->set_format(formats_[b]);
  }

 private:
  // A net's input does not give its format to its other readers.
  void want(const GraphLayer& g, Groups* groups, std::vector<bool>* wanted) const {
    for (int b : blobs_of(graph_, g.top)) (*wanted)[groups->find(b)] = true;
    want_bottoms(g, groups, wanted);
  }

  void want_bottoms(const GraphLayer& g, Groups* groups, std::vector<bool>* wanted) const {
    for (int b : blobs_of(graph_, g.bottom)) {
      if (!pinned_[b]) (*wanted)[groups->find(b)] = true;
    }
  }

  bool first_is(size_t layer, const std::vector<bool>& wanted, Groups* groups) const {
    const std::vector<int> ids = blobs_of(graph_, graph_.layers[layer]);
    return !ids.empty() && wanted[groups->find(ids[0])];
  }

  static void set_layout(Layer* layer, Layout layout) {
    layer->set_format({Device::kCpu, layout, DType::kFloat32});
  }

  const Graph& graph_;
  const std::vector<bool>& pinned_;
  const std::vector<std::shared_ptr<Blob>>& blobs_;
  std::vector<Format> formats_;  // per blob
};

}  // namespace

void choose_formats(const Graph& graph, const std::vector<bool>& pinned, bool low_precision,
                    const std::vector<std::shared_ptr<Blob>>& blobs) {
  FormatChoice choice(graph, pinned, blobs);
  choice.choose_layouts();
  if (low_precision) choice.choose_dtypes();
  choice.apply();
}

}  // namespace pydl::graph
