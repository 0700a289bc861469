#include <algorithm>
#include <map>

#include "graph/graph.h"

namespace pydl::graph {

namespace {

constexpr int64_t kAlign = 64;

struct Interval {
  int blob, first, last;  // written by layer `first`, read for the last time by `last`
  int64_t bytes;
};

// Versions in one blob, and blobs that share one tensor (views), live together. The last top of a
// chain may be written as early as by the chain's head, which still reads its own bottoms.
std::vector<Interval> intervals(const Graph& graph, const std::vector<LayerNode>& nodes,
                                const std::vector<std::shared_ptr<Blob>>& blobs,
                                const std::vector<bool>& kept) {
  std::map<const Tensor*, Interval> by_tensor;
  std::map<const Tensor*, bool> own;
  for (const Version& v : graph.versions) {
    const Tensor* tensor = &blobs[v.blob]->data_tensor();
    auto [at, is_new] = by_tensor.try_emplace(
        tensor, Interval{v.blob, v.producer, v.producer, blobs[v.blob]->count() * 4});
    Interval& span = at->second;
    const int head = nodes[v.producer].chain_head;
    span.first = std::min(span.first, head >= 0 ? head : v.producer);
    span.last = std::max(span.last, v.producer);
    for (const Use& use : v.readers) span.last = std::max(span.last, use.layer);
    own[tensor] = own[tensor] || kept[v.blob] || tensor->exposed();
  }
  std::vector<Interval> out;
  for (const auto& [tensor, span] : by_tensor) {
    if (!own[tensor] && span.bytes > 0) out.push_back(span);
  }
  return out;
}

}  // namespace

// Largest first, each at the lowest offset that is free during its life (greedy by size, as in
// Pisarchyk & Lee, arXiv:2001.03288).
MemoryPlan plan_memory(const Graph& graph, const std::vector<LayerNode>& nodes,
                       const std::vector<std::shared_ptr<Blob>>& blobs,
                       const std::vector<bool>& kept) {
  std::vector<Interval> todo = intervals(graph, nodes, blobs, kept);
  std::sort(todo.begin(), todo.end(), [](const Interval& a, const Interval& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.blob < b.blob;
  });
  MemoryPlan plan{std::vector<int64_t>(blobs.size(), -1), 0};
  std::vector<Interval> placed;
  for (const Interval& span : todo) {
    std::vector<std::pair<int64_t, int64_t>> taken;  // (offset, end) of those alive together
    for (const Interval& other : placed) {
      if (other.first > span.last || other.last < span.first) continue;
      taken.emplace_back(plan.offset[other.blob], plan.offset[other.blob] + other.bytes);
    }
    std::sort(taken.begin(), taken.end());
    int64_t offset = 0;
    for (const auto& [begin, end] : taken) {
      if (offset + span.bytes <= begin) break;
      offset = std::max(offset, (end + kAlign - 1) / kAlign * kAlign);
    }
    plan.offset[span.blob] = offset;
    plan.bytes = std::max(plan.bytes, offset + span.bytes);
    placed.push_back(span);
  }
  return plan;
}

}  // namespace pydl::graph
