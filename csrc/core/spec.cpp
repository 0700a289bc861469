#include "pydl/spec.h"

#include <algorithm>

#include "core/check.h"

namespace pydl {

NetSpec NetSpec::from_value(const Value& value) {
  // Layer by layer, so that a message can name the layer.
  NetSpec spec;
  Value rest = Value::map();
  for (const auto& [key, v] : value.as_map()) {
    if (key != "layers") rest[key] = v;
  }
  spec = read_params<NetSpec>(rest);
  const Value* layers = value.find("layers");
  if (!layers) return spec;
  for (const Value& v : layers->as_list()) {
    try {
      spec.layers.push_back(read_params<LayerSpec>(v));
    } catch (const Error& e) {
      const Value* where = v.find("where");
      const Value* name = v.find("name");
      fail(where && where->is_text() ? where->as_text() + ": " : "", "layer \"",
           name && name->is_text() ? name->as_text() : "", "\": ", e.what());
    }
  }
  return spec;
}

Value NetSpec::to_value() const { return params_value(*this); }

LayerSpec& NetSpec::add(const std::string& layer_name, const std::string& type,
                        std::vector<std::string> bottom, std::vector<std::string> top,
                        Value params) {
  LayerSpec layer;
  layer.name = layer_name;
  layer.type = type;
  layer.bottom = std::move(bottom);
  layer.top = std::move(top);
  layer.params = std::move(params);
  return layers.emplace_back(std::move(layer));
}

namespace {

bool holds(const StateRule& rule, const NetSpec& net) {
  const auto set = [&](const std::string& stage) {
    return std::find(net.stages.begin(), net.stages.end(), stage) != net.stages.end();
  };
  return (!rule.phase || *rule.phase == net.phase) &&
         (!rule.min_level || net.level >= *rule.min_level) &&
         (!rule.max_level || net.level <= *rule.max_level) &&
         std::all_of(rule.stage.begin(), rule.stage.end(), set) &&
         std::none_of(rule.not_stage.begin(), rule.not_stage.end(), set);
}

}  // namespace

bool included(const LayerSpec& layer, const NetSpec& net) {
  check(layer.include.empty() || layer.exclude.empty(), layer.where,
        layer.where.empty() ? "" : ": ", "layer \"", layer.name,
        "\": give include rules or exclude rules, not both");
  const auto rule_holds = [&](const StateRule& rule) { return holds(rule, net); };
  if (!layer.include.empty()) {
    return std::any_of(layer.include.begin(), layer.include.end(), rule_holds);
  }
  return std::none_of(layer.exclude.begin(), layer.exclude.end(), rule_holds);
}

}  // namespace pydl
