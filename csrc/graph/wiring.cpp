#include <algorithm>
#include <map>

#include "core/check.h"
#include "graph/graph.h"

namespace pydl::graph {

namespace {

std::string at(const LayerSpec& layer) {
  return (layer.where.empty() ? "" : layer.where + ": ") + "layer \"" + layer.name + "\" (" +
         layer.type + "): ";
}

class Wiring {
 public:
  Graph wire(const std::vector<LayerSpec>& layers) {
    for (const LayerSpec& spec : layers) add(spec);
    for (const std::string& name : names_) graph_.last.push_back(current_[name]);
    return std::move(graph_);
  }

 private:
  void add(const LayerSpec& spec) {
    const int id = static_cast<int>(graph_.layers.size());
    GraphLayer layer{&spec, nullptr, {}, {}};
    for (size_t i = 0; i < spec.bottom.size(); ++i) {
      const auto found = current_.find(spec.bottom[i]);
      check(found != current_.end(), at(spec), "unknown bottom blob \"", spec.bottom[i],
            "\": no layer before this one has it as a top", did_you_mean(spec.bottom[i], names_));
      graph_.versions[found->second].readers.push_back({id, static_cast<int>(i)});
      layer.bottom.push_back(found->second);
    }
    for (size_t i = 0; i < spec.top.size(); ++i) layer.top.push_back(produce(spec, id, i));
    graph_.layers.push_back(std::move(layer));
  }

  int produce(const LayerSpec& spec, int id, size_t i) {
    const std::string& name = spec.top[i];
    Version version{name, id, static_cast<int>(i), {}, -1, -1};
    const auto found = current_.find(name);
    if (found != current_.end()) {
      const bool in_place = i < spec.bottom.size() && spec.bottom[i] == name;
      check(in_place, at(spec), "top \"", name, "\" is already the top of layer \"",
            graph_.layers.size() > static_cast<size_t>(graph_.versions[found->second].producer)
                ? graph_.layers[graph_.versions[found->second].producer].spec->name
                : spec.name,
            "\"; only a layer that has it as its bottom may write it again (in place)");
      version.previous = found->second;
    } else {
      names_.push_back(name);
    }
    graph_.versions.push_back(version);
    return current_[name] = static_cast<int>(graph_.versions.size()) - 1;
  }

  Graph graph_;
  std::map<std::string, int> current_;
  std::vector<std::string> names_;
};

}  // namespace

Graph wire(const std::vector<LayerSpec>& layers) { return Wiring().wire(layers); }

}  // namespace pydl::graph
