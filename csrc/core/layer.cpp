#include "pydl/layer.h"

#include <algorithm>
#include <limits>

#include "core/builtin_layers.h"
#include "core/check.h"
#include "core/random.h"
#include "pydl/filler.h"

namespace pydl {

Layer::~Layer() = default;

float Layer::ceiling() const { return is_rectifier() ? std::numeric_limits<float>::infinity() : 0; }

void Layer::Backward(const Blobs&, const Propagates& down, const Blobs&) {
  for (Propagate p : down) {
    check(p == Propagate::kNo, "a ", spec_.type, " layer has no gradient");
  }
}

void Layer::set_param_propagate(size_t i, bool yes) {
  if (param_propagate_.size() <= i) param_propagate_.resize(i + 1, true);
  param_propagate_[i] = yes;
}

void Layer::Init(const LayerSpec& spec, const LayerContext& context) {
  spec_ = spec;
  context_ = context;
  ReadParams(spec.params);
}

Blob* Layer::AddParam(const Shape& shape, const FillerParams* filler) {
  auto blob = std::make_shared<Blob>(shape);
  const uint64_t stream = stream_of(spec_.name) + params_.size();
  if (filler) Fill(*filler, context_.seed, stream, blob.get());
  params_.push_back(blob);
  return blob.get();
}

namespace {

std::vector<LayerType>& registry() {
  static std::vector<LayerType> types;
  return types;
}

}  // namespace

bool RegisterLayer(LayerType type) {
  auto& types = registry();
  const auto at =
      std::lower_bound(types.begin(), types.end(), type.name,
                       [](const LayerType& t, const std::string& n) { return t.name < n; });
  types.insert(at, std::move(type));
  return true;
}

const std::vector<LayerType>& LayerTypes() {
  keep_builtin_layers();
  auto& types = registry();
  const auto twice =
      std::adjacent_find(types.begin(), types.end(),
                         [](const LayerType& a, const LayerType& b) { return a.name == b.name; });
  check(twice == types.end(), "layer type \"", twice == types.end() ? "" : twice->name,
        "\" is registered twice");
  return types;
}

std::unique_ptr<Layer> MakeLayer(const LayerSpec& spec, const LayerContext& context) {
  std::vector<std::string> names;
  for (const LayerType& type : LayerTypes()) {
    if (type.name == spec.type) {
      auto layer = type.make();
      layer->Init(spec, context);
      return layer;
    }
    names.push_back(type.name);
  }
  fail("unknown layer type \"", spec.type, "\"", did_you_mean(spec.type, names),
       "; a layer of your own is registered with PYDL_REGISTER_LAYER (pydl/layer.h)");
}

}  // namespace pydl
