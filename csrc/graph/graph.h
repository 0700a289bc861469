// A net as its passes see it: layers, and the versions of the blobs between them.
//
// An in-place layer writes a new version of its bottom under the same name. Passes decide which
// versions share one Blob, which layer needs a backward pass, which layouts are used, and where
// memory is.
#pragma once

#include <string>
#include <vector>

#include "pydl/layer.h"
#include "pydl/net.h"

namespace pydl::graph {

struct Use {
  int layer, index;  // layer `layer` reads it as its bottom `index`
};

struct Version {
  std::string name;
  int producer, top;         // layer and top index that write it
  std::vector<Use> readers;  // in order
  int previous = -1;         // the version it replaces in place, or -1
  int blob = -1;             // filled by assign_blobs
};

struct GraphLayer {
  const LayerSpec* spec;
  Layer* layer = nullptr;        // once made
  std::vector<int> bottom, top;  // versions
};

struct Graph {
  std::vector<GraphLayer> layers;
  std::vector<Version> versions;
  std::vector<int> last;  // per name in order of appearance: its last version
};

// wiring.cpp: names to versions. Throws pydl::Error for a bottom that nothing before produces, and
// for a top that two layers produce.
Graph wire(const std::vector<LayerSpec>& layers);

// in_place.cpp: gives every version its blob number; returns how many blobs there are. A version
// that replaces another in place gets the same blob if that changes nothing: nobody else reads the
// old version, and the layer that wrote it does not need the old values for its backward pass.
int assign_blobs(Graph* graph);

// gradients.cpp: whether each layer runs backward, and what it does with each bottom's diff, by
// Caffe's rules: gradients are needed from learnable blobs up to the loss, and at bottoms that
// propagate_down names; with force_backward at every bottom that can have one.
struct Gradients {
  std::vector<bool> layer;
  std::vector<Propagates> bottom;
};
Gradients find_gradients(const Graph& graph, const std::vector<LayerNode>& nodes,
                         const std::vector<NetParam>& params, bool force_backward);

// formats.cpp: the layout and element type of every layer and blob. Inputs and outputs of the net
// (pinned) stay plain and float32.
void choose_formats(const Graph& graph, const std::vector<bool>& pinned, bool low_precision,
                    const std::vector<std::shared_ptr<Blob>>& blobs);

// views.cpp: lets the tops of views share their bottom's memory.
void share_views(const Graph& graph, std::vector<LayerNode>* nodes);

// selection.cpp: lets a layer that selects values (maximum pooling) from the top of a ReLU that
// works in place do the ReLU's backward pass on its own top, where the gradient arrives: it is
// smaller, and the ReLU's need not be kept to tell its signs. Of blobs that nobody can see.
void rectify_after_selection(const Graph& graph, const std::vector<bool>& kept,
                             std::vector<LayerNode>* nodes);

// fusion.cpp: the chain of layers whose work each layer can do in the same pass, so that what is
// between them is never written. `backward`: a backward pass may follow.
void fuse(const Graph& graph, const std::vector<bool>& kept, Keep keep, bool backward,
          std::vector<LayerNode>* nodes);

// fusion.cpp: where a chain does a sum, what the sum adds to gets its gradient in the memory in
// which it arrives at the chain's top. Of blobs that nobody can see.
void share_gradients(const Graph& graph, const std::vector<bool>& kept,
                     std::vector<LayerNode>* nodes);

}  // namespace pydl::graph
