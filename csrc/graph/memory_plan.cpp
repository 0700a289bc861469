#include "graph/memory_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "graph/chain.h"

namespace pydl::graph {

namespace {

constexpr int64_t kAlign = 64;

// When a tensor is used.
struct Life {
  Tensor* tensor;
  Format format;
  Shape shape;
  bool starts_written;  // else the first to use it expects what was there before
  int first, last;
  int last_forward = -1, first_backward = -1;
  int writes = 0;
  int param = -1;
};

class Schedule {
 public:
  Schedule(const std::vector<LayerNode>& nodes, const std::vector<NetParam>& params,
           const std::set<const Tensor*>& kept, PlanOptions options)
      : nodes_(nodes),
        params_(params),
        kept_(kept),
        options_(options),
        streamed_(params.size(), false) {
    const int count = static_cast<int>(nodes.size());
    if (options.gradients) FindStreamed();
    for (int i = 0; i < count; ++i) {
      if (!chain_does(nodes, i, false)) Forward(i);
    }
    if (!options.backward) return;
    for (int i = count - 1; i >= 0; --i) {
      if (runs_backward(nodes, i)) Backward(i);
    }
  }

  // The tops that are given up after their last reader of the forward pass and written once more,
  // by these layers, in the step that is the first to read them in the backward pass. What that
  // reads must be there then: kept so long in any case or, if nothing in the backward pass reads
  // it, repeated for this. (So of a line of sums of which each reads the one before, every second.)
  std::vector<std::pair<Life*, int>> Repeats() {
    std::vector<std::pair<Life*, int>> found;
    for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
      Life* top = options_.backward && !chain_does(nodes_, i, false) ? repeatable_top(i) : nullptr;
      if (!top || top->first_backward < 0 || repeated_.count(top)) continue;
      if (CanRepeat(i, top->first_backward)) Repeat(i, top->first_backward, &found);
    }
    return found;
  }

  std::vector<Life>& lives() { return lives_; }
  const std::vector<bool>& streamed() const { return streamed_; }

 private:
  int step_back(int layer) const { return 2 * static_cast<int>(nodes_.size()) - 1 - layer; }

  // What layer i can write again: its one top, if nobody else writes it.
  Life* repeatable_top(int i) {
    const LayerNode& node = nodes_[i];
    if (!node.layer->can_repeat() || node.top.size() != 1) return nullptr;
    Life* top = find(chain_ends(nodes_, node).top[0]->data_tensor());
    return top->writes == 1 && !kept_.count(top->tensor) ? top : nullptr;
  }

  bool CanRepeat(int i, int step) {
    for (Blob* bottom : chain_ends(nodes_, nodes_[i]).bottom) {
      const Life& life = *find(bottom->data_tensor());
      const bool there = life.last >= step && !repeated_.count(&life);
      if (there || kept_.count(life.tensor)) continue;
      const auto writer = writer_.find(life.tensor);
      if (life.first_backward >= 0 || writer == writer_.end()) return false;
      if (!repeatable_top(writer->second) || !CanRepeat(writer->second, step)) return false;
    }
    return true;
  }

  void Repeat(int i, int step, std::vector<std::pair<Life*, int>>* found) {
    const ChainEnds ends = chain_ends(nodes_, nodes_[i]);
    for (Blob* bottom : ends.bottom) {
      const Life& life = *find(bottom->data_tensor());
      const bool lost = life.last < step && !kept_.count(life.tensor);
      read(*bottom, bottom->data_tensor(), step);
      if (lost) Repeat(writer_.at(life.tensor), step, found);
    }
    Life* top = find(ends.top[0]->data_tensor());
    repeated_.insert(top);
    found->emplace_back(top, i);
  }

  void Forward(int i) {
    const ChainEnds ends = chain_ends(nodes_, nodes_[i]);
    for (Blob* bottom : ends.bottom) read(*bottom, bottom->data_tensor(), i);
    for (Blob* top : ends.top) {
      write(*top, top->data_tensor(), i);
      writer_[&top->data_tensor()] = i;
    }
    for (size_t t = 0; t < nodes_[i].top.size(); ++t) {
      Blob* top = nodes_[i].top[t];
      if (nodes_[i].loss_weight[t] != 0) write(*top, top->diff_tensor(), i);
    }
  }

  void Backward(int i) {
    const LayerNode& node = nodes_[i];
    const int step = step_back(i);
    const bool chain = chain_in_backward(node);
    const ChainEnds ends = chain ? chain_ends(nodes_, node) : ChainEnds{node.bottom, node.top, {}};
    for (size_t b = 0; b < node.bottom.size(); ++b) {
      const bool reads = chain || node.layer->backward_reads_bottom(static_cast<int>(b));
      if (reads) read(*node.bottom[b], node.bottom[b]->data_tensor(), step);
    }
    for (Blob* top : ends.top) {
      const bool reads = chain ? node.layer->chain_reads_top(ends.layers)
                               : node.layer->backward_reads_top() != TopUse::kNone;
      if (reads || rectifier_of(nodes_, node)) read(*top, top->data_tensor(), step);
      read(*top, top->diff_tensor(), step);
    }
    for (size_t b = 0; b < ends.bottom.size(); ++b) {
      const bool own = b < node.bottom.size();
      const Propagate down = own ? node.down[b] : node.chain_down[b - node.bottom.size()];
      Blob* bottom = ends.bottom[b];
      if (down != Propagate::kNo || (chain && own)) write(*bottom, bottom->diff_tensor(), step);
      if (own && node.addends[b]) write(*bottom, node.addends[b]->diff_tensor(), step);
    }
    AddGradients(node, step);
    for (int j : node.chain) {
      if (chain) AddGradients(nodes_[j], step);
    }
  }

  void AddGradients(const LayerNode& node, int step) {
    for (int id : node.param_ids) {
      if (!options_.gradients || streamed_[id] || params_[id].lr_mult == 0) continue;
      const Blob& blob = *params_[id].blob;
      write(blob, blob.diff_tensor(), step, Format());
      find(blob.diff_tensor())->param = id;
    }
  }

  void FindStreamed() {
    std::vector<int> users(params_.size(), 0);
    for (const LayerNode& node : nodes_) {
      for (int id : node.param_ids) ++users[id];
    }
    for (const LayerNode& node : nodes_) {
      for (size_t p = 0; p < node.param_ids.size(); ++p) {
        const int id = node.param_ids[p];
        if (params_[id].lr_mult == 0 || users[id] != 1) continue;
        streamed_[id] = node.layer->streams_gradient(p);
      }
    }
  }

  void read(const Blob& blob, Tensor& tensor, int step) {
    use(blob, tensor, step, blob.format(), false);
  }
  void write(const Blob& blob, Tensor& tensor, int step) {
    write(blob, tensor, step, blob.format());
  }
  void write(const Blob& blob, Tensor& tensor, int step, Format format) {
    use(blob, tensor, step, format, true);
    ++find(tensor)->writes;
  }

  void use(const Blob& blob, Tensor& tensor, int step, Format format, bool written) {
    const auto [at, is_new] = index_.try_emplace(&tensor, lives_.size());
    if (is_new) lives_.push_back({&tensor, format, blob.shape(), written, step, step});
    Life& life = lives_[at->second];
    life.last = std::max(life.last, step);
    if (step < static_cast<int>(nodes_.size())) {
      life.last_forward = std::max(life.last_forward, step);
    } else if (life.first_backward < 0 || step < life.first_backward) {
      life.first_backward = step;
    }
  }

  Life* find(const Tensor& tensor) {
    const auto at = index_.find(&tensor);
    return at == index_.end() ? nullptr : &lives_[at->second];
  }

  const std::vector<LayerNode>& nodes_;
  const std::vector<NetParam>& params_;
  const std::set<const Tensor*>& kept_;
  const PlanOptions options_;
  std::vector<Life> lives_;
  std::map<const Tensor*, size_t> index_;
  std::map<const Tensor*, int> writer_;  // of data: the layer that runs
  std::set<const Life*> repeated_;
  std::vector<bool> streamed_;
};

Placement place(const Life& life, int first, int last) {
  Placement p{life.tensor, life.format, life.shape, first, last, 0};
  p.bytes = life.tensor->count() * bytes_of(life.format.dtype);
  p.param = life.param;
  return p;
}

// Largest first, each at the lowest offset that is free during its life (greedy by size, as in
// Pisarchyk & Lee, arXiv:2001.03288). Returns the size of the whole.
int64_t assign_offsets(std::vector<Placement*> todo) {
  std::stable_sort(todo.begin(), todo.end(),
                   [](const Placement* a, const Placement* b) { return a->bytes > b->bytes; });
  int64_t size = 0;
  for (size_t i = 0; i < todo.size(); ++i) {
    Placement& mine = *todo[i];
    std::vector<std::pair<int64_t, int64_t>> taken;  // (offset, end) of those alive together
    for (size_t j = 0; j < i; ++j) {
      const Placement& other = *todo[j];
      if (other.first > mine.last || other.last < mine.first) continue;
      taken.emplace_back(other.offset, other.offset + other.bytes);
    }
    std::sort(taken.begin(), taken.end());
    for (const auto& [begin, end] : taken) {
      if (mine.offset + mine.bytes <= begin) break;
      mine.offset = std::max(mine.offset, (end + kAlign - 1) / kAlign * kAlign);
    }
    size = std::max(size, mine.offset + mine.bytes);
  }
  return size;
}

}  // namespace

MemoryPlan plan_memory(const std::vector<LayerNode>& nodes, const std::vector<NetParam>& params,
                       const std::vector<std::shared_ptr<Blob>>& blobs,
                       const std::vector<bool>& kept, PlanOptions options) {
  std::set<const Tensor*> own;
  for (size_t b = 0; b < blobs.size(); ++b) {
    for (const Tensor* tensor : {&blobs[b]->data_tensor(), &blobs[b]->diff_tensor()}) {
      if (kept[b] || tensor->exposed()) own.insert(tensor);
    }
  }
  const auto plannable = [&](const Life& life) {
    return life.starts_written && !own.count(life.tensor) && life.tensor->count() > 0;
  };
  for (const LayerNode& node : nodes) {
    if (!node.layer->hands_out_blobs()) continue;
    for (const auto& addend : node.addends) {
      if (addend) own.insert(&addend->diff_tensor());
    }
  }
  Schedule schedule(nodes, params, own, options);
  MemoryPlan plan;
  plan.streamed = schedule.streamed();
  std::set<const Life*> repeated;
  for (const auto& [life, layer] : schedule.Repeats()) {
    repeated.insert(life);
    plan.moving.push_back(place(*life, life->first, life->last_forward));
    plan.moving.push_back(place(*life, life->first_backward, life->last));
    plan.moving.back().repeat = layer;
  }
  for (const Life& life : schedule.lives()) {
    if (!plannable(life) || repeated.count(&life)) continue;
    (life.param < 0 ? plan.fixed : plan.moving).push_back(place(life, life.first, life.last));
  }
  std::stable_sort(plan.moving.begin(), plan.moving.end(),
                   [](const Placement& a, const Placement& b) {
                     return std::pair(a.first, a.repeat) < std::pair(b.first, b.repeat);
                   });
  std::vector<Placement*> all;
  for (auto* group : {&plan.fixed, &plan.moving}) {
    for (Placement& p : *group) all.push_back(&p);
  }
  plan.bytes = assign_offsets(std::move(all));
  return plan;
}

}  // namespace pydl::graph
