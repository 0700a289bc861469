// A net: layers in order, the blobs between them, and their learnable parameters.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pydl/layer.h"

namespace pydl {

namespace graph {
struct Graph;
struct MemoryPlan;
struct Placement;
}  // namespace graph

// What of a net can be read after a forward pass.
enum class Keep {
  kAll,      // every named blob, as Caffe would show it
  kOutputs,  // inputs and outputs only: all else shares memory, and all that can fuse does
};

struct NetOptions {
  Keep keep = Keep::kAll;
  uint64_t seed = 1;  // of fillers, Dropout and the order of data
  // In the place of the spec's, where they are set.
  std::optional<Precision> precision = std::nullopt;
  std::optional<Arithmetic> arithmetic = std::nullopt;
  std::optional<bool> autotune = std::nullopt, deterministic = std::nullopt;
  // Python layers may run: a net that holds one is a program.
  bool allow_python = false;

  // Those four, by their names in a prototxt, and the last.
  static auto fields() {
    using O = NetOptions;
    return Fields("net options", Field("precision", &O::precision, "FLOAT32 or BF16"),
                  Field("arithmetic", &O::arithmetic, "FAST, STRICT or DIRECT"),
                  Field("autotune", &O::autotune, "time kernels once, keep the fastest"),
                  Field("deterministic", &O::deterministic, "no autotune"),
                  Field("allow_python", &O::allow_python, "Python layers may run"));
  }
};

// A learnable blob, and who uses it.
struct NetParam {
  Blob* blob;        // the owner's
  std::string name;  // as shared, or ""
  int layer, index;  // owner: layers()[layer]->params()[index]
  float lr_mult = 1, decay_mult = 1;
  int64_t offset = 0;  // in floats, in the arenas
  float max_norm = 0;  // of each row (axis 0), after an update; 0: any
  // What a solver does to it for a forward and backward pass (core/weight_noise.h).
  float noise = 0, dropout_ratio = 0;
};

// What one layer reads and writes, resolved.
struct LayerNode {
  std::unique_ptr<Layer> layer;
  Blobs bottom, top;
  std::vector<std::string> bottom_names, top_names;
  std::vector<int> param_ids;      // into Net::params()
  Propagates down;                 // per bottom
  std::vector<float> loss_weight;  // per top; 0: none
  float loss_factor = 1;           // on them, by the layer's loss_weight_schedule
  bool needs_backward = false;
  // Layers that this one can do as well (graph/fusion.cpp), and the other bottoms of a sum in it.
  std::vector<int> chain;
  Blobs chain_bottoms;
  Propagates chain_down;  // of chain_bottoms, where Backward does the chain too
  int chain_head = -1;    // the layer in whose chain this one is
  bool chained = false;   // the last Forward did the chain
  bool split = false;     // it did, but a pass has begun within the chain since
  // A ReLU whose backward pass this layer does on its own top (graph/selection.cpp), and the other
  // way round; -1: none.
  int rectifier = -1, rectified_by = -1;
  bool view = false;        // top 0 shares bottom 0's memory: nothing to do
  std::vector<Shape> seen;  // bottoms' shapes at the last Reshape
  // Stand-ins with a diff of their own, for bottoms to be added to by layers that only write.
  std::vector<std::shared_ptr<Blob>> addends;
  double forward_ms = 0, backward_ms = 0;  // of the last timed pass
};

class Net {
 public:
  // Throws pydl::Error naming file:line and layer.
  explicit Net(NetSpec spec, NetOptions options = {});
  ~Net();
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  const NetSpec& spec() const { return spec_; }
  const std::string& name() const { return spec_.name; }
  Phase phase() const { return spec_.phase; }
  const NetOptions& options() const { return options_; }

  // ---- running ----
  // Loss: the sum of all tops times their loss weights. `begin`, `end`: layers, both included.
  // A net that keeps only its outputs runs its layers in order, forward and then backward, once
  // each; a pass may be cut into parts, and ended anywhere by a new one from layer 0 on.
  double Forward();
  double Forward(int begin, int end);
  void Backward();
  void Backward(int begin, int end);  // begin >= end
  void ClearParamDiffs();
  // After the inputs' shapes changed; also done by Forward where it is needed.
  void Reshape();
  void set_timing(bool on) { timing_ = on; }  // fills forward_ms and backward_ms
  // Of a training run: loss weights with a schedule get their value of it. Before the first call
  // they are as given.
  void set_iteration(int iter);

  // ---- parts ----
  const std::vector<LayerNode>& layers() const { return nodes_; }
  int layer_index(const std::string& name) const;  // throws pydl::Error with the nearest name
  // Names in the order in which they appear; a name stands for its last version (in-place chains).
  const std::vector<std::string>& blob_names() const { return blob_names_; }
  bool has_blob(const std::string& name) const { return blob_of_name_.count(name) > 0; }
  // Throws pydl::Error with the nearest name, or if the blob is not kept.
  Blob* blob(const std::string& name) const;
  std::shared_ptr<Blob> shared_blob(const std::string& name) const;
  const std::vector<std::string>& inputs() const { return inputs_; }  // tops of Input layers
  // What an input is fed through: the blob of that name before any in-place layer wrote it.
  std::shared_ptr<Blob> input_blob(const std::string& name) const;      // throws pydl::Error
  const std::vector<std::string>& outputs() const { return outputs_; }  // tops that nobody reads

  // ---- parameters: one arena of weights, one of gradients ----
  const std::vector<NetParam>& params() const { return params_; }
  float* weights() { return reinterpret_cast<float*>(weights_.get()); }
  float* gradients();
  int64_t arena_size() const { return arena_size_; }  // floats, padding included
  // Until it is called with null, Backward calls `take` with the gradient of a param (its number in
  // params(); values [begin, begin + count)) as soon as it is complete, perhaps in parts, and keeps
  // none: diffs stay zero. `take` may change the gradient and the weights it is for. Params with
  // lr_mult 0, and those that no gradient reaches, are left out. Only where gradients_can_go().
  using TakeGradient =
      std::function<void(int param, int64_t begin, int64_t count, float* gradient)>;
  void set_take_gradient(TakeGradient take);
  // The net keeps only its outputs, and nobody looks at gradients: by hooks or arrays.
  bool gradients_can_go() const;
  void weights_changed();        // after writing to the arena: packed copies are made again
  void ShareParams(Net* other);  // of equally named layers: uses other's memory from now on
  // Checks shapes before anything is changed; throws pydl::Error.
  void SetParam(int layer, int index, const Shape& shape, const float* values);

  // ---- hooks, called with the layer's index ----
  using Hook = std::function<void(int)>;
  std::vector<Hook> before_forward, after_forward, before_backward, after_backward;

  // Counters of all layers that a resumed run needs, by layer name.
  std::map<std::string, std::vector<int64_t>> layer_state();
  void set_layer_state(const std::map<std::string, std::vector<int64_t>>& state);

  void set_seed(uint64_t seed);  // of what is random from now on; weights stay as they are

  int64_t activation_bytes() const;  // data and diff of all blobs as planned

  // Weights and spec in one file, readable without Python (docs/design.md, Embedding).
  void SaveBundle(const std::string& path) const;
  static std::unique_ptr<Net> OpenBundle(const std::string& path, Phase phase = Phase::kTest,
                                         NetOptions options = {});
  // Weights of equally named layers, from a bundle or another .safetensors file.
  void LoadWeights(const std::string& path);

 private:
  friend class NetBuilder;
  void ReshapeLayer(int index);
  bool ReshapeIfNeeded(int index);
  double ForwardLayer(int index);
  void BackwardLayer(int index);
  void CheckChains(int begin, int end) const;
  void Report(int index, const char* pass) const;
  void BeginPass(int begin, int end, bool may_fuse);
  static void Split(LayerNode* head);
  void PlanMemory(bool whole);
  void CheckOrder(int step) const;
  void BeginStep(int step);
  void EndStep(int step);
  std::shared_ptr<std::byte> Part(const graph::Placement& placement) const;
  void StreamGradients(const LayerNode& node);
  void KeepGradient(const NetParam& param);
  void KeepGradients();
  [[noreturn]] void Rethrow(int index) const;  // what is being thrown, with file:line and layer

  NetSpec spec_;
  NetOptions options_;
  std::unique_ptr<graph::Graph> graph_;
  std::vector<LayerNode> nodes_;
  std::vector<std::shared_ptr<Blob>> blobs_;
  std::vector<bool> kept_;  // per blob
  std::vector<std::string> blob_names_;
  std::map<std::string, int> blob_of_name_;
  std::vector<std::string> inputs_, outputs_;
  std::vector<int> input_blobs_;  // per input: its number in blobs_
  std::vector<NetParam> params_;
  std::shared_ptr<std::byte> weights_, gradients_, activations_;
  int64_t arena_size_ = 0, activation_arena_bytes_ = 0;
  bool timing_ = false;
  // Of a net that keeps only its outputs.
  std::unique_ptr<graph::MemoryPlan> plan_;
  bool planned_ = false;                               // plan_ fits the present shapes
  bool planned_whole_ = false, planned_take_ = false;  // and passes like this
  int last_step_ = -1;  // done in the present pass (graph/memory_plan.h)
  TakeGradient take_gradient_;
};

}  // namespace pydl
