// Building a net from its spec: layers, wiring, passes.
#pragma once

#include <set>

#include "graph/graph.h"
#include "pydl/net.h"

namespace pydl {

class NetBuilder {
 public:
  explicit NetBuilder(Net* net) : net_(*net) {}
  void Build();

 private:
  void MakeLayers();
  void CheckArity(int index) const;
  void MakeBlobs();
  void SetUpLayers();
  void SetLossWeights(int index);
  void AppendParams(int index);
  static void CheckParam(const ParamSpec& spec);
  void ShareParam(int index, int i, const NetParam& owner, const ParamSpec& spec) const;
  void CheckMemory() const;
  void FindGradients();
  void MakeArenas();
  void FindInputsAndOutputs();

  Net& net_;
  std::vector<LayerSpec> specs_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::set<std::string> names_with_params_;  // of layers
  std::map<std::string, int> param_of_name_;
};

// "lenet.prototxt:42: layer "conv1" (Convolution): "
std::string layer_location(const LayerSpec& spec);

}  // namespace pydl
