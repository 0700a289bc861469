// Bundles: one safetensors file whose metadata holds the spec as JSON ("pydl.net") and whose
// tensors are the weights, named "<layer>/<index>".

#include "core/check.h"
#include "core/safetensors.h"
#include "pydl/net.h"

namespace pydl {

void Net::SaveBundle(const std::string& path) const {
  std::vector<TensorEntry> tensors;
  for (const LayerNode& node : nodes_) {
    const auto& params = node.layer->params();
    for (size_t i = 0; i < params.size(); ++i) {
      tensors.push_back(
          {node.layer->name() + "/" + std::to_string(i), params[i]->shape(), params[i]->data()});
    }
  }
  write_safetensors(path, tensors, {{"pydl.net", spec_.to_value().json()}});
}

void Net::LoadWeights(const std::string& path) {
  const SafetensorsFile file(path);
  int loaded = 0;
  // All shapes are checked before any weight is changed.
  for (const bool write : {false, true}) {
    for (int l = 0; l < static_cast<int>(nodes_.size()); ++l) {
      const auto& params = nodes_[l].layer->params();
      for (int i = 0; i < static_cast<int>(params.size()); ++i) {
        const std::string name = nodes_[l].layer->name() + "/" + std::to_string(i);
        const TensorEntry* t = file.find(name);
        if (!t) continue;
        check(t->shape == params[i]->shape(), path, ": tensor \"", name, "\" has shape ",
              shape_text(t->shape), ", but the net's has ", shape_text(params[i]->shape()));
        if (write) SetParam(l, i, t->shape, t->data);
        ++loaded;
      }
    }
  }
  check(loaded > 0 || params_.empty(), path, ": none of its tensors belongs to net \"", name(),
        "\"; they should be named \"<layer>/<index>\"");
}

std::unique_ptr<Net> Net::OpenBundle(const std::string& path, Phase phase, NetOptions options) {
  NetSpec spec;
  {
    const SafetensorsFile file(path);
    const auto json = file.metadata().find("pydl.net");
    check(json != file.metadata().end(), path,
          ": holds weights but no net; write it with `pydl export net.prototxt weights -o ...`");
    try {
      spec = NetSpec::from_value(Value::from_json(json->second));
    } catch (const Error& e) {
      fail(path, ": ", e.what());
    }
  }
  spec.phase = phase;
  auto net = std::make_unique<Net>(std::move(spec), options);
  net->LoadWeights(path);
  return net;
}

}  // namespace pydl
