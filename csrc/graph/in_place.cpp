#include "core/check.h"
#include "graph/graph.h"

namespace pydl::graph {

namespace {

bool can_replace(const Graph& graph, const Version& next) {
  const Version& old = graph.versions[next.previous];
  const Layer& layer = *graph.layers[next.producer].layer;
  const Layer& before = *graph.layers[old.producer].layer;
  if (!layer.in_place() || old.readers.size() != 1) return false;
  if (before.is_view()) return false;  // would change the view's bottom as well
  const TopUse use = before.backward_reads_top();
  return use == TopUse::kNone || (use == TopUse::kSign && layer.keeps_sign());
}

}  // namespace

int assign_blobs(Graph* graph) {
  int blobs = 0;
  for (Version& version : graph->versions) {
    version.blob = version.previous >= 0 && can_replace(*graph, version)
                       ? graph->versions[version.previous].blob
                       : blobs++;
  }
  return blobs;
}

}  // namespace pydl::graph
