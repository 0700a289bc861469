#include "core/net_builder.h"

#include <algorithm>

#include "core/check.h"
#include "core/loss_schedule.h"
#include "core/memory.h"

namespace pydl {

namespace {

constexpr int64_t kParamAlign = 16;  // floats: one cache line

std::string arity_text(Arity arity, const char* what) {
  const std::string noun = what;
  if (arity.most < 0) return "at least " + std::to_string(arity.least) + " " + noun;
  if (arity.least == arity.most) return "exactly " + std::to_string(arity.least) + " " + noun;
  return std::to_string(arity.least) + " to " + std::to_string(arity.most) + " " + noun;
}

void check_arity(size_t count, Arity arity, const char* what) {
  const int n = static_cast<int>(count);
  check(n >= arity.least && (arity.most < 0 || n <= arity.most), "takes ", arity_text(arity, what),
        ", got ", n);
}

}  // namespace

std::string layer_location(const LayerSpec& spec) {
  return (spec.where.empty() ? "" : spec.where + ": ") + "layer \"" + spec.name + "\" (" +
         spec.type + "): ";
}

void NetBuilder::Build() {
  for (const LayerSpec& layer : net_.spec_.layers) {
    if (included(layer, net_.spec_)) specs_.push_back(layer);
  }
  check(!specs_.empty(), "net \"", net_.name(), "\" has no layers",
        net_.spec_.layers.empty() ? "" : " in this phase: all are ruled out by include or exclude");
  MakeLayers();
  net_.graph_ = std::make_unique<graph::Graph>(graph::wire(specs_));
  for (size_t i = 0; i < layers_.size(); ++i) {
    net_.graph_->layers[i].layer = layers_[i].get();
    net_.graph_->layers[i].spec = &layers_[i]->spec();
  }
  MakeBlobs();
  SetUpLayers();
  CheckMemory();
  FindGradients();
  MakeArenas();
  FindInputsAndOutputs();
  std::vector<bool> pinned(net_.blobs_.size(), false);
  for (int blob : net_.input_blobs_) pinned[blob] = true;
  for (const std::string& name : net_.outputs_) pinned[net_.blob_of_name_.at(name)] = true;
  graph::share_views(*net_.graph_, &net_.nodes_);
  graph::choose_formats(*net_.graph_, pinned, net_.spec_.precision == Precision::kBf16,
                        net_.blobs_);
  const Keep keep = net_.options_.keep;
  const bool backward = keep == Keep::kAll || net_.phase() == Phase::kTrain;
  graph::fuse(*net_.graph_, net_.kept_, keep, backward, &net_.nodes_);
  if (keep == Keep::kOutputs) {
    graph::rectify_after_selection(*net_.graph_, net_.kept_, &net_.nodes_);
    graph::share_gradients(*net_.graph_, net_.kept_, &net_.nodes_);
  }
}

void NetBuilder::MakeLayers() {
  const NetSpec& net = net_.spec_;
  const LayerContext context{net.phase, net_.options_.seed, net.arithmetic,
                             net.autotune && !net.deterministic, net_.options_.allow_python};
  for (LayerSpec& spec : specs_) {
    try {
      layers_.push_back(MakeLayer(spec, context));
      // A loss layer without a top gets one, as in Caffe.
      if (layers_.back()->is_loss() && spec.top.empty()) {
        spec.top.push_back("(automatic: " + spec.name + ")");
      }
    } catch (const Error& e) {
      fail(layer_location(spec), e.what());
    }
  }
}

void NetBuilder::CheckArity(int index) const {
  const LayerNode& node = net_.nodes_[index];
  check_arity(node.bottom.size(), node.layer->bottoms(), "bottom(s)");
  check_arity(node.top.size(), node.layer->tops(), "top(s)");
  const size_t given = node.layer->spec().propagate_down.size();
  check(given == 0 || given == node.bottom.size(), "propagate_down is given ", given,
        " time(s) for ", node.bottom.size(), " bottom(s)");
}

void NetBuilder::MakeBlobs() {
  const int count = graph::assign_blobs(net_.graph_.get());
  for (int i = 0; i < count; ++i) net_.blobs_.push_back(std::make_shared<Blob>());
  const graph::Graph& graph = *net_.graph_;
  net_.kept_.assign(count, false);
  for (int last : graph.last) {
    const graph::Version& v = graph.versions[last];
    net_.blob_names_.push_back(v.name);
    net_.blob_of_name_[v.name] = v.blob;
    net_.kept_[v.blob] = net_.options_.keep == Keep::kAll;
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    LayerNode node;
    node.layer = std::move(layers_[i]);
    node.bottom_names = specs_[i].bottom;
    node.top_names = specs_[i].top;
    for (int v : graph.layers[i].bottom) {
      node.bottom.push_back(net_.blobs_[graph.versions[v].blob].get());
    }
    for (int v : graph.layers[i].top) {
      node.top.push_back(net_.blobs_[graph.versions[v].blob].get());
    }
    net_.nodes_.push_back(std::move(node));
  }
}

void NetBuilder::SetUpLayers() {
  for (int i = 0; i < static_cast<int>(net_.nodes_.size()); ++i) {
    try {
      CheckArity(i);
      LayerNode& node = net_.nodes_[i];
      node.layer->SetUp(node.bottom, node.top);
      net_.ReshapeLayer(i);
      SetLossWeights(i);
      AppendParams(i);
    } catch (...) {
      net_.Rethrow(i);
    }
  }
}

void NetBuilder::SetLossWeights(int index) {
  LayerNode& node = net_.nodes_[index];
  const std::vector<float>& given = node.layer->spec().loss_weight;
  check(given.empty() || given.size() == node.top.size(), "loss_weight is given ", given.size(),
        " time(s) for ", node.top.size(), " top(s)");
  node.loss_weight = given;
  node.loss_weight.resize(node.top.size(), 0);
  if (given.empty() && node.layer->is_loss()) node.loss_weight[0] = 1;
  const auto& schedule = node.layer->spec().loss_weight_schedule;
  if (!schedule) return;
  check_loss_schedule(*schedule);
  const auto has_weight = [](float weight) { return weight != 0; };
  check(std::any_of(node.loss_weight.begin(), node.loss_weight.end(), has_weight),
        "has a loss_weight_schedule, but no loss_weight: the schedule is a factor on that");
}

void NetBuilder::AppendParams(int index) {
  LayerNode& node = net_.nodes_[index];
  const std::vector<ParamSpec>& specs = node.layer->spec().param;
  const auto& blobs = node.layer->params();
  check(specs.size() <= blobs.size(), "has ", specs.size(), " param { } for ", blobs.size(),
        " learnable blob(s)");
  // Caffe's own autoencoder has two losses of one name.
  check(blobs.empty() || names_with_params_.insert(node.layer->name()).second,
        "another layer before this one has the same name, and both have learnable blobs, which "
        "files keep by the name of their layer; rename one of them");
  for (int i = 0; i < static_cast<int>(blobs.size()); ++i) {
    const ParamSpec spec = i < static_cast<int>(specs.size()) ? specs[i] : ParamSpec();
    const auto owner = param_of_name_.find(spec.name);
    if (spec.name.empty() || owner == param_of_name_.end()) {
      const int id = static_cast<int>(net_.params_.size());
      if (!spec.name.empty()) param_of_name_[spec.name] = id;
      CheckParam(spec);
      net_.params_.push_back({blobs[i].get(), spec.name, index, i, spec.lr_mult.value_or(1),
                              spec.decay_mult.value_or(1), 0, spec.max_norm.value_or(0),
                              spec.noise.value_or(0), spec.dropout_ratio.value_or(0)});
      node.param_ids.push_back(id);
    } else {
      ShareParam(index, i, net_.params_[owner->second], spec);
      node.param_ids.push_back(owner->second);
    }
  }
}

void NetBuilder::CheckParam(const ParamSpec& spec) {
  check(!spec.max_norm || *spec.max_norm > 0, "param: max_norm must be positive, got ",
        spec.max_norm.value_or(0));
  check(spec.noise.value_or(0) >= 0, "param: noise must not be negative, got ",
        spec.noise.value_or(0));
  const float ratio = spec.dropout_ratio.value_or(0);
  check(ratio >= 0 && ratio < 1, "param: dropout_ratio must be at least 0 and less than 1, got ",
        ratio);
}

void NetBuilder::ShareParam(int index, int i, const NetParam& owner, const ParamSpec& spec) const {
  Blob* blob = net_.nodes_[index].layer->params()[i].get();
  const std::string& owner_name = net_.nodes_[owner.layer].layer->name();
  const bool fits = spec.share_mode == ShareMode::kPermissive
                        ? blob->count() == owner.blob->count()
                        : blob->shape() == owner.blob->shape();
  check(fits, "cannot share param \"", spec.name, "\": its shape here is ",
        shape_text(blob->shape()), ", but ", shape_text(owner.blob->shape()), " in layer \"",
        owner_name, "\"",
        blob->count() == owner.blob->count() ? "; share_mode: PERMISSIVE allows that" : "");
  const auto agree = [&](const char* field, std::optional<float> here, float owners) {
    check(here.value_or(owners) == owners, "param \"", spec.name, "\" has ", field, " ",
          here.value_or(0), ", but ", owners, " in layer \"", owner_name, "\", which shares it");
  };
  agree("lr_mult", spec.lr_mult, owner.lr_mult);
  agree("decay_mult", spec.decay_mult, owner.decay_mult);
  agree("max_norm", spec.max_norm, owner.max_norm);
  agree("noise", spec.noise, owner.noise);
  agree("dropout_ratio", spec.dropout_ratio, owner.dropout_ratio);
  blob->ShareData(*owner.blob);
  blob->ShareDiff(*owner.blob);
}

void NetBuilder::CheckMemory() const {
  int64_t bytes = 0;
  for (const auto& blob : net_.blobs_) bytes += 4 * blob->count();
  check(bytes <= memory_limit(), "net \"", net_.name(), "\" needs ", bytes >> 20,
        " MiB for its blobs, more than the limit of ", memory_limit() >> 20,
        " MiB; use a smaller batch or raise PYDL_MEMORY_LIMIT");
}

void NetBuilder::FindGradients() {
  const bool force = net_.spec_.force_backward;
  graph::Gradients gradients =
      graph::find_gradients(*net_.graph_, net_.nodes_, net_.params_, force);
  for (size_t i = 0; i < net_.nodes_.size(); ++i) {
    LayerNode& node = net_.nodes_[i];
    node.needs_backward = gradients.layer[i];
    node.layer->set_needs_backward(
        gradients.layer[i] && (net_.options_.keep == Keep::kAll || net_.phase() == Phase::kTrain));
    node.down = gradients.bottom[i];
    node.addends.resize(node.bottom.size());
    for (size_t b = 0; b < node.bottom.size(); ++b) {
      if (node.down[b] == Propagate::kAdd && !node.layer->adds_to_diff()) {
        node.addends[b] = std::make_shared<Blob>(node.bottom[b]->shape());
      }
    }
    for (size_t p = 0; p < node.param_ids.size(); ++p) {
      node.layer->set_param_propagate(p, force || net_.params_[node.param_ids[p]].lr_mult != 0);
    }
  }
}

void NetBuilder::MakeArenas() {
  int64_t size = 0;
  for (NetParam& param : net_.params_) {
    param.offset = size;
    size += (param.blob->count() + kParamAlign - 1) / kParamAlign * kParamAlign;
  }
  net_.arena_size_ = size;
  const int64_t bytes = size * int64_t{sizeof(float)};
  check(bytes <= memory_limit(), "the parameters need ", bytes >> 20,
        " MiB, more than the limit of ", memory_limit() >> 20, " MiB; raise PYDL_MEMORY_LIMIT");
  net_.weights_ = allocate(bytes);
  net_.gradients_ = allocate(bytes);
  for (const NetParam& param : net_.params_) {
    std::byte* part = net_.weights_.get() + param.offset * int64_t{sizeof(float)};
    param.blob->data_tensor().place({net_.weights_, part});
    net_.KeepGradient(param);
  }
}

void NetBuilder::FindInputsAndOutputs() {
  const graph::Graph& graph = *net_.graph_;
  for (size_t i = 0; i < net_.nodes_.size(); ++i) {
    const LayerNode& node = net_.nodes_[i];
    if (!node.layer->has_inputs()) continue;
    net_.inputs_.insert(net_.inputs_.end(), node.top_names.begin(), node.top_names.end());
    for (int top : graph.layers[i].top) net_.input_blobs_.push_back(graph.versions[top].blob);
  }
  for (int last : graph.last) {
    const graph::Version& v = graph.versions[last];
    if (v.readers.empty()) net_.outputs_.push_back(v.name);
  }
  for (const auto* names : {&net_.inputs_, &net_.outputs_}) {
    for (const std::string& name : *names) net_.kept_[net_.blob_of_name_.at(name)] = true;
  }
  for (int blob : net_.input_blobs_) net_.kept_[blob] = true;
  for (const graph::GraphLayer& layer : graph.layers) {
    if (!layer.layer->hands_out_blobs()) continue;
    for (int bottom : layer.bottom) net_.kept_[graph.versions[bottom].blob] = true;
    for (int top : layer.top) net_.kept_[graph.versions[top].blob] = true;
  }
}

}  // namespace pydl
