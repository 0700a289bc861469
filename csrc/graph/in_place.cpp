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
  switch (before.backward_reads_top()) {
    case TopUse::kNone:
      return true;
    case TopUse::kSign:
      return layer.keeps_sign();
    case TopUse::kData:
      return layer.phase() == Phase::kTest;
  }
  return false;
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
