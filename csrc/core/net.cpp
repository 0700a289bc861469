#include "pydl/net.h"

#include <algorithm>
#include <chrono>

#include "core/check.h"
#include "core/memory.h"
#include "core/net_builder.h"
#include "core/verbose.h"
#include "graph/graph.h"
#include "kernels/eltwise.h"

namespace pydl {

namespace {

class Timer {
 public:
  Timer(bool on, double* ms) : on_(on), ms_(ms) {
    if (on_) start_ = std::chrono::steady_clock::now();
  }
  ~Timer() {
    if (on_) {
      *ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
                 .count();
    }
  }

 private:
  bool on_;
  double* ms_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

Net::Net(NetSpec spec, NetOptions options) : spec_(std::move(spec)), options_(options) {
  spec_.precision = options_.precision.value_or(spec_.precision);
  spec_.arithmetic = options_.arithmetic.value_or(spec_.arithmetic);
  spec_.autotune = options_.autotune.value_or(spec_.autotune);
  spec_.deterministic = options_.deterministic.value_or(spec_.deterministic);
  NetBuilder(this).Build();
}

Net::~Net() = default;

void Net::Rethrow(int index) const {
  const std::string where = layer_location(nodes_[index].layer->spec());
  try {
    throw;
  } catch (const Error& e) {
    const std::string what = e.what();
    throw Error(what.compare(0, where.size(), where) == 0 ? what : where + what);
  } catch (const std::bad_alloc&) {
    throw Error(where + "out of memory");
  }
}

void Net::ReshapeLayer(int index) {
  LayerNode& node = nodes_[index];
  node.layer->Reshape(node.bottom, node.top);
  node.seen.clear();
  for (const Blob* blob : node.bottom) node.seen.push_back(blob->shape());
  for (size_t b = 0; b < node.addends.size(); ++b) {
    if (node.addends[b]) node.addends[b]->ReshapeLike(*node.bottom[b]);
  }
  planned_ = false;
}

void Net::ReshapeIfNeeded(int index) {
  const LayerNode& node = nodes_[index];
  bool same = node.seen.size() == node.bottom.size();
  for (size_t b = 0; same && b < node.bottom.size(); ++b) {
    same = node.seen[b] == node.bottom[b]->shape();
  }
  if (!same) ReshapeLayer(index);
}

void Net::Reshape() {
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    try {
      ReshapeLayer(i);
    } catch (...) {
      Rethrow(i);
    }
  }
}

double Net::Forward() { return Forward(0, static_cast<int>(nodes_.size()) - 1); }

double Net::Forward(int begin, int end) {
  const int last = static_cast<int>(nodes_.size()) - 1;
  check(begin >= 0 && end <= last, "layers ", begin, " to ", end, " are not all in 0 to ", last);
  if (options_.keep == Keep::kOutputs && phase() == Phase::kTest && !planned_) PlanMemory();
  double loss = 0;
  const bool may_fuse = before_forward.empty() && after_forward.empty();
  for (int i = begin; i <= end; ++i) {
    for (const Hook& hook : before_forward) hook(i);
    try {
      const std::vector<int>& chain = nodes_[i].chain;
      nodes_[i].chained = may_fuse && !chain.empty() && chain.back() <= end;
      if (chain_does(i, false)) {
        nodes_[i].forward_ms = 0;
      } else {
        loss += ForwardLayer(i);
        Report(i, "forward");
      }
    } catch (...) {
      Rethrow(i);
    }
    for (const Hook& hook : after_forward) hook(i);
  }
  return loss;
}

// A layer with its chain, as it sees them: its own bottoms and the others of a sum, the last top.
struct Net::ChainEnds {
  Blobs bottom, top;
  LayerChain layers;
};

Net::ChainEnds Net::chain_ends(const LayerNode& node) const {
  if (!node.chained) return {node.bottom, node.top, {}};
  ChainEnds ends{node.bottom, nodes_[node.chain.back()].top, {}};
  ends.bottom.insert(ends.bottom.end(), node.chain_bottoms.begin(), node.chain_bottoms.end());
  for (int i : node.chain) ends.layers.push_back(nodes_[i].layer.get());
  return ends;
}

// Whether the layer's pass is done by the head of the chain that it is in.
bool Net::chain_does(int index, bool backward) const {
  const int head = nodes_[index].chain_head;
  if (head < 0 || !nodes_[head].chained) return false;
  return !backward || nodes_[head].layer->fuses_backward();
}

double Net::ForwardLayer(int index) {
  LayerNode& node = nodes_[index];
  Timer timer(timing_ || verbose(), &node.forward_ms);
  ReshapeIfNeeded(index);
  if (node.chained)
    std::for_each(node.chain.begin(), node.chain.end(), [&](int i) { ReshapeIfNeeded(i); });
  const ChainEnds ends = chain_ends(node);
  node.layer->set_fused(ends.layers);
  if (!node.layer->is_view()) node.layer->Forward(ends.bottom, ends.top);
  for (Blob* top : ends.top) top->data_tensor().refresh_exposed();
  double loss = 0;
  for (size_t t = 0; t < node.top.size(); ++t) {
    Blob* top = node.top[t];
    const float weight = node.loss_weight[t];
    if (weight == 0) continue;
    const auto& kernels = kernels::eltwise_kernels();
    kernels.fill(top->count(), weight, top->mutable_diff());
    top->diff_tensor().refresh_exposed();
    loss += weight * kernels.sum(top->count(), top->data());
  }
  return loss;
}

// The gradients of the weights and of the bottom each take as many operations as the forward pass.
void Net::Report(int index, const char* pass) const {
  if (!verbose()) return;
  const LayerNode& node = nodes_[index];
  const bool forward = pass[0] == 'f';
  const bool weights = !node.param_ids.empty() && node.layer->param_propagate(0);
  const auto propagates = [](Propagate p) { return p != Propagate::kNo; };
  const bool down = std::any_of(node.down.begin(), node.down.end(), propagates);
  report_layer(pass, node, forward ? node.forward_ms : node.backward_ms,
               (forward ? 1 : weights + down) * node.layer->flops(node.bottom, node.top));
}

void Net::Backward() { Backward(static_cast<int>(nodes_.size()) - 1, 0); }

// A chain that ran forward as one runs backward as one.
void Net::CheckChains(int begin, int end) const {
  for (const LayerNode& node : nodes_) {
    if (!node.chained || !node.layer->fuses_backward()) continue;
    const int head = nodes_[node.chain[0]].chain_head, tail = node.chain.back();
    const bool inside = end <= head && tail <= begin, outside = tail < end || begin < head;
    check(inside || outside, "a backward pass from layer \"", nodes_[begin].layer->name(),
          "\" to \"", nodes_[end].layer->name(), "\" cuts through layers that run as one: \"",
          node.layer->name(), "\" to \"", nodes_[tail].layer->name(),
          "\"; start and end outside of them");
  }
}

void Net::Backward(int begin, int end) {
  const int last = static_cast<int>(nodes_.size()) - 1;
  check(end >= 0 && begin <= last, "layers ", begin, " to ", end, " are not all in 0 to ", last);
  check(options_.keep == Keep::kAll || phase() == Phase::kTrain, "net \"", name(),
        "\" keeps only its outputs; build it with keep=\"all\" for a backward pass");
  CheckChains(begin, end);
  for (int i = begin; i >= end; --i) {
    for (const Hook& hook : before_backward) hook(i);
    try {
      if (nodes_[i].needs_backward && !chain_does(i, true)) {
        BackwardLayer(i);
        Report(i, "backward");
      } else {
        nodes_[i].backward_ms = 0;
      }
    } catch (...) {
      Rethrow(i);
    }
    for (const Hook& hook : after_backward) hook(i);
  }
}

void Net::BackwardLayer(int index) {
  LayerNode& node = nodes_[index];
  Timer timer(timing_ || verbose(), &node.backward_ms);
  if (!node.view) {
    const bool with_chain = node.chained && node.layer->fuses_backward();
    const ChainEnds ends = with_chain ? chain_ends(node) : ChainEnds{node.bottom, node.top, {}};
    Blobs bottom = ends.bottom;
    Propagates down = node.down;
    if (with_chain) down.insert(down.end(), node.chain_down.begin(), node.chain_down.end());
    for (size_t b = 0; b < node.bottom.size(); ++b) {
      if (!node.addends[b]) continue;
      node.addends[b]->ShareData(*bottom[b]);
      node.addends[b]->set_format(bottom[b]->format());
      bottom[b] = node.addends[b].get();
      down[b] = Propagate::kWrite;
    }
    node.layer->Backward(ends.top, down, bottom);
    for (size_t b = 0; b < node.bottom.size(); ++b) {
      if (!node.addends[b]) continue;
      const Format format = node.bottom[b]->format();
      const Array sum = node.bottom[b]->update_diff(format);
      kernels::eltwise_kernels().add(bottom[b]->count(), sum, bottom[b]->diff(format), sum);
    }
  }
  for (Blob* bottom : node.bottom) bottom->diff_tensor().refresh_exposed();
  for (Blob* bottom : node.chain_bottoms) bottom->diff_tensor().refresh_exposed();
}

void Net::ClearParamDiffs() {
  for (const NetParam& param : params_) param.blob->diff_tensor().clear();
}

float* Net::gradients() {
  for (const NetParam& param : params_) param.blob->diff();  // writes the zeros of cleared ones
  return reinterpret_cast<float*>(gradients_.get());
}

void Net::weights_changed() {
  for (const NetParam& param : params_) param.blob->data_tensor().touch();
}

void Net::PlanMemory() {
  const graph::MemoryPlan plan = graph::plan_memory(*graph_, nodes_, blobs_, kept_);
  activations_ = allocate(plan.bytes);
  activation_arena_bytes_ = plan.bytes;
  for (size_t b = 0; b < blobs_.size(); ++b) {
    if (plan.offset[b] < 0) continue;
    std::shared_ptr<std::byte> part(activations_, activations_.get() + plan.offset[b]);
    blobs_[b]->data_tensor().adopt(part, blobs_[b]->layout(), blobs_[b]->shape());
  }
  planned_ = true;
}

int Net::layer_index(const std::string& name) const {
  std::vector<std::string> names;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].layer->name() == name) return static_cast<int>(i);
    names.push_back(nodes_[i].layer->name());
  }
  fail("net \"", this->name(), "\" has no layer \"", name, "\"", did_you_mean(name, names));
}

std::shared_ptr<Blob> Net::shared_blob(const std::string& name) const {
  const auto found = blob_of_name_.find(name);
  check(found != blob_of_name_.end(), "net \"", this->name(), "\" has no blob \"", name, "\"",
        did_you_mean(name, blob_names_));
  check(kept_[found->second], "blob \"", name,
        "\" is not kept: the net was built with "
        "keep=\"outputs\", which keeps only inputs and outputs");
  return blobs_[found->second];
}

std::shared_ptr<Blob> Net::input_blob(const std::string& name) const {
  const auto found = std::find(inputs_.begin(), inputs_.end(), name);
  check(found != inputs_.end(), "net \"", this->name(), "\" has no input \"", name, "\"",
        did_you_mean(name, inputs_));
  return blobs_[input_blobs_[found - inputs_.begin()]];
}

Blob* Net::blob(const std::string& name) const { return shared_blob(name).get(); }

void Net::SetParam(int layer, int index, const Shape& shape, const float* values) {
  Blob* blob = nodes_[layer].layer->params()[index].get();
  check(shape == blob->shape(), "layer \"", nodes_[layer].layer->name(), "\", learnable blob ",
        index, ": its shape is ", shape_text(blob->shape()), ", but the weights given have ",
        shape_text(shape));
  std::copy(values, values + blob->count(), blob->mutable_data());
}

void Net::ShareParams(Net* other) {
  for (LayerNode& node : nodes_) {
    for (LayerNode& theirs : other->nodes_) {
      if (theirs.layer->name() != node.layer->name()) continue;
      const auto& mine = node.layer->params();
      const auto& params = theirs.layer->params();
      check(mine.size() == params.size(), "layer \"", node.layer->name(), "\" has ", mine.size(),
            " learnable blobs here, but ", params.size(), " in the other net");
      for (size_t i = 0; i < mine.size(); ++i) {
        check(mine[i]->shape() == params[i]->shape(), "layer \"", node.layer->name(),
              "\", learnable blob ", i, ": shape ", shape_text(mine[i]->shape()), " here, but ",
              shape_text(params[i]->shape()), " in the other net");
        mine[i]->ShareData(*params[i]);
      }
    }
  }
}

std::map<std::string, std::vector<int64_t>> Net::layer_state() {
  std::map<std::string, std::vector<int64_t>> out;
  for (LayerNode& node : nodes_) {
    for (const int64_t* value : node.layer->state()) out[node.layer->name()].push_back(*value);
  }
  return out;
}

void Net::set_layer_state(const std::map<std::string, std::vector<int64_t>>& state) {
  for (LayerNode& node : nodes_) {
    const auto found = state.find(node.layer->name());
    const std::vector<int64_t*> values = node.layer->state();
    if (found == state.end() || found->second.size() != values.size()) continue;
    for (size_t i = 0; i < values.size(); ++i) *values[i] = found->second[i];
  }
}

void Net::set_seed(uint64_t seed) {
  options_.seed = seed;
  for (LayerNode& node : nodes_) node.layer->set_seed(seed);
}

int64_t Net::activation_bytes() const {
  std::vector<const Tensor*> seen;
  int64_t bytes = activation_arena_bytes_;
  for (const auto& blob : blobs_) {
    for (const Tensor* tensor : {&blob->data_tensor(), &blob->diff_tensor()}) {
      if (std::find(seen.begin(), seen.end(), tensor) != seen.end()) continue;
      seen.push_back(tensor);
      bytes += tensor->bytes();
    }
  }
  return bytes;
}

}  // namespace pydl
