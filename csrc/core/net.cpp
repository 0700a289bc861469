#include "pydl/net.h"

#include <algorithm>
#include <chrono>

#include "core/check.h"
#include "core/loss_schedule.h"
#include "core/memory.h"
#include "core/net_builder.h"
#include "core/verbose.h"
#include "graph/chain.h"
#include "graph/graph.h"
#include "graph/memory_plan.h"
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

bool Net::ReshapeIfNeeded(int index) {
  const LayerNode& node = nodes_[index];
  bool same = node.seen.size() == node.bottom.size();
  for (size_t b = 0; same && b < node.bottom.size(); ++b) {
    same = node.seen[b] == node.bottom[b]->shape();
  }
  same = same && !node.layer->wants_reshape(node.top);
  if (!same) ReshapeLayer(index);
  return !same;
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
  BeginPass(begin, end, before_forward.empty() && after_forward.empty());
  double loss = 0;
  for (int i = begin; i <= end; ++i) {
    for (const Hook& hook : before_forward) hook(i);
    try {
      if (graph::chain_does(nodes_, i, false)) {
        nodes_[i].forward_ms = 0;
      } else {
        BeginStep(i);
        loss += ForwardLayer(i);
        Report(i, "forward");
      }
      EndStep(i);
    } catch (...) {
      Rethrow(i);
    }
    for (const Hook& hook : after_forward) hook(i);
  }
  return loss;
}

// Which chains run as one. Where memory is shared by a plan, the plan has to know: then either all
// do, in a pass over the whole net, or none.
void Net::BeginPass(int begin, int end, bool may_fuse) {
  if (options_.keep == Keep::kAll) {
    for (int i = begin; i <= end; ++i) {
      const std::vector<int>& chain = nodes_[i].chain;
      if (nodes_[i].chain_head >= 0 && nodes_[i].chain_head < begin) {
        Split(&nodes_[nodes_[i].chain_head]);
      }
      nodes_[i].chained = may_fuse && !chain.empty() && chain.back() <= end;
      nodes_[i].split = false;
    }
    return;
  }
  if (begin != 0) return CheckOrder(begin);
  const bool whole = may_fuse && end == static_cast<int>(nodes_.size()) - 1;
  for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
    nodes_[i].chained = whole && !nodes_[i].chain.empty();
    try {
      ReshapeIfNeeded(i);
    } catch (...) {
      Rethrow(i);
    }
  }
  if (!planned_ || planned_whole_ != whole || planned_take_ != bool(take_gradient_)) {
    PlanMemory(whole);
  }
  last_step_ = -1;
}

// A pass begins behind the head of a chain: what follows runs by itself.
void Net::Split(LayerNode* head) {
  head->split = head->split || head->chained;
  head->chained = false;
}

double Net::ForwardLayer(int index) {
  LayerNode& node = nodes_[index];
  Timer timer(timing_ || verbose(), &node.forward_ms);
  if (!ReshapeIfNeeded(index) && node.layer->reshapes_each_pass()) {
    node.layer->Reshape(node.bottom, node.top);
  }
  if (node.chained)
    std::for_each(node.chain.begin(), node.chain.end(), [&](int i) { ReshapeIfNeeded(i); });
  const graph::ChainEnds ends = graph::chain_ends(nodes_, node);
  node.layer->set_fused(ends.layers);
  if (!node.layer->is_view()) node.layer->Forward(ends.bottom, ends.top);
  for (Blob* top : ends.top) top->data_tensor().refresh_exposed();
  double loss = 0;
  for (size_t t = 0; t < node.top.size(); ++t) {
    Blob* top = node.top[t];
    if (node.loss_weight[t] == 0) continue;
    const float weight = node.loss_weight[t] * node.loss_factor;
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
    if (node.chain.empty() || !node.layer->fuses_backward()) continue;
    const int head = nodes_[node.chain[0]].chain_head, tail = node.chain.back();
    const bool inside = end <= head && tail <= begin, outside = tail < end || begin < head;
    check(!node.split || outside, "the last forward pass began behind layer \"", node.layer->name(),
          "\", which had run as one with those up to \"", nodes_[tail].layer->name(),
          "\"; before a backward pass through them run one from \"", node.layer->name(), "\" on");
    if (!node.chained) continue;
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
  const int first_step = 2 * last + 1 - begin;
  if (options_.keep == Keep::kOutputs) CheckOrder(first_step);
  for (int i = begin, step = first_step; i >= end; --i, ++step) {
    for (const Hook& hook : before_backward) hook(i);
    try {
      if (graph::runs_backward(nodes_, i)) {
        BeginStep(step);
        BackwardLayer(i);
        Report(i, "backward");
      } else {
        nodes_[i].backward_ms = 0;
      }
      EndStep(step);
    } catch (...) {
      if (take_gradient_) KeepGradients();
      Rethrow(i);
    }
    for (const Hook& hook : after_backward) hook(i);
  }
}

void Net::BackwardLayer(int index) {
  LayerNode& node = nodes_[index];
  Timer timer(timing_ || verbose(), &node.backward_ms);
  if (!node.view) {
    const bool with_chain = graph::chain_in_backward(node);
    const graph::ChainEnds ends =
        with_chain ? graph::chain_ends(nodes_, node) : graph::ChainEnds{node.bottom, node.top, {}};
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
    if (const LayerNode* rectifier = graph::rectifier_of(nodes_, node)) {
      rectifier->layer->Backward(node.top, {Propagate::kWrite}, node.top);
    }
    StreamGradients(node);
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

void Net::set_iteration(int iter) {
  for (LayerNode& node : nodes_) {
    const auto& schedule = node.layer->spec().loss_weight_schedule;
    if (schedule) node.loss_factor = loss_factor(*schedule, iter);
  }
}

void Net::weights_changed() {
  for (const NetParam& param : params_) param.blob->data_tensor().touch();
}

void Net::PlanMemory(bool whole) {
  if (plan_) {  // its tensors leave the arena
    for (const graph::Placement& p : plan_->fixed) p.tensor->adopt(nullptr, 0, p.format, p.shape);
    for (const graph::Placement& p : plan_->moving) {
      if (p.param < 0) p.tensor->adopt(nullptr, 0, p.format, p.shape);
    }
  }
  const graph::PlanOptions options{phase() == Phase::kTrain, bool(take_gradient_)};
  plan_ = std::make_unique<graph::MemoryPlan>(
      graph::plan_memory(nodes_, params_, blobs_, kept_, options));
  if (plan_->bytes > activation_arena_bytes_) {
    activations_.reset();
    activations_ = allocate(plan_->bytes);
    activation_arena_bytes_ = plan_->bytes;
  }
  for (const graph::Placement& p : plan_->fixed) {
    p.tensor->adopt(Part(p), p.bytes, p.format, p.shape);
  }
  planned_ = true;
  planned_whole_ = whole;
  planned_take_ = bool(take_gradient_);
}

std::shared_ptr<std::byte> Net::Part(const graph::Placement& placement) const {
  return {activations_, activations_.get() + placement.offset};
}

void Net::CheckOrder(int step) const {
  check(
      step == last_step_ + 1, "net \"", name(),
      "\" keeps only its outputs, so that its layers run "
      "in order, forward and then backward, once each; begin again with a forward pass from layer "
      "0 on, or build it with keep=\"all\"");
}

// What moves to a new place in this step, and what is written there once more.
void Net::BeginStep(int step) {
  if (!plan_) return;
  const auto before = [](const graph::Placement& p, int s) { return p.first < s; };
  auto p = std::lower_bound(plan_->moving.begin(), plan_->moving.end(), step, before);
  for (; p != plan_->moving.end() && p->first == step; ++p) {
    p->tensor->adopt(Part(*p), p->bytes, p->format, p->shape);
    if (p->repeat < 0) continue;
    const graph::ChainEnds ends = graph::chain_ends(nodes_, nodes_[p->repeat]);
    nodes_[p->repeat].layer->Repeat(ends.bottom, ends.top);
  }
}

void Net::EndStep(int step) {
  last_step_ = step;
  if (!plan_ || !take_gradient_) return;
  for (const graph::Placement& p : plan_->moving) {
    if (p.param < 0 || p.last != step) continue;
    const NetParam& param = params_[p.param];
    take_gradient_(p.param, 0, param.blob->count(), param.blob->update_diff());
    KeepGradient(param);
  }
}

void Net::StreamGradients(const LayerNode& node) {
  node.layer->set_gradient_sink(nullptr);
  if (!take_gradient_) return;
  const std::vector<int>& ids = node.param_ids;
  const auto streamed = [this](int id) { return plan_->streamed[id]; };
  if (std::none_of(ids.begin(), ids.end(), streamed)) return;
  node.layer->set_gradient_sink(
      [this, &ids](size_t param, int64_t begin, int64_t n, float* values) {
        take_gradient_(ids[param], begin, n, values);
      });
}

void Net::set_take_gradient(TakeGradient take) {
  check(!take || gradients_can_go(), "net \"", name(), "\" keeps its gradients");
  take_gradient_ = std::move(take);
}

bool Net::gradients_can_go() const {
  const auto seen = [this](const NetParam& p) {
    return p.blob->diff_tensor().exposed() || nodes_[p.layer].layer->hands_out_blobs();
  };
  return options_.keep == Keep::kOutputs && phase() == Phase::kTrain && before_backward.empty() &&
         after_backward.empty() && std::none_of(params_.begin(), params_.end(), seen);
}

// In the gradients' arena, as zeros.
void Net::KeepGradient(const NetParam& param) {
  const int64_t bytes = param.blob->count() * int64_t{sizeof(float)};
  std::byte* part = gradients_.get() + param.offset * int64_t{sizeof(float)};
  param.blob->diff_tensor().adopt({gradients_, part}, bytes, {}, param.blob->shape());
}

void Net::KeepGradients() {
  for (const NetParam& param : params_) KeepGradient(param);
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
  const auto add = [&](const Tensor& tensor) {
    if (std::find(seen.begin(), seen.end(), &tensor) != seen.end()) return;
    seen.push_back(&tensor);
    bytes += tensor.bytes();
  };
  for (const auto& blob : blobs_) {
    add(blob->data_tensor());
    add(blob->diff_tensor());
  }
  for (const LayerNode& node : nodes_) {
    for (const auto& addend : node.addends) {
      if (addend) add(addend->diff_tensor());
    }
  }
  return bytes;
}

}  // namespace pydl
