// The contract of a layer, Caffe's: set up once from its parameters, reshape from its bottoms,
// forward, backward to the bottoms that ask for it. csrc/layers/skeleton.cpp is one to copy.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "pydl/blob.h"
#include "pydl/spec.h"

namespace pydl {

using Blobs = std::vector<Blob*>;

// What Backward does with the diff of a bottom.
enum class Propagate : uint8_t {
  kNo,     // leaves it alone
  kWrite,  // overwrites it
  kAdd,    // adds to it: only a layer whose adds_to_diff() is true is ever asked to
};
using Propagates = std::vector<Propagate>;

// How many bottoms or tops a layer takes; most < 0: any number.
struct Arity {
  int least, most;
};

// The layouts of a layer's bottoms and tops.
enum class Layouts : uint8_t {
  kPlain,         // plain only
  kAny,           // one for all of its blobs, whichever: layout() tells
  kChannelsLast,  // channels-last
};

// The element types of a layer's bottoms and tops, in a net with precision: BF16.
enum class DTypes : uint8_t {
  kFloat32,   // float32 only
  kAny,       // one for all of its blobs, whichever: format() tells
  kBFloat16,  // bfloat16 where it reads, and writes its tops in whichever they have
  kTops,      // float32 where it reads, and writes its tops in whichever they have
};

// What Backward reads of the tops' data, which a later in-place layer may have overwritten.
enum class TopUse : uint8_t { kNone, kSign, kData };

// Is given `count` values, from value `begin` on, of the gradient of the param `param`. It may
// change them, and the same values of the param.
using GradientSink =
    std::function<void(size_t param, int64_t begin, int64_t count, float* gradient)>;

// What a net tells its layers.
struct LayerContext {
  Phase phase = Phase::kTrain;
  uint64_t seed = 0;
  Arithmetic arithmetic = Arithmetic::kFast;
  bool autotune = false;
  bool allow_python = false;
};

class Layer;
using LayerChain = std::vector<Layer*>;

class Layer {
 public:
  virtual ~Layer();

  // ---- what a layer does ----
  // Once, after the bottoms have shapes: check parameters, make and fill params().
  virtual void SetUp(const Blobs& /*bottom*/, const Blobs& /*top*/) {}
  // Whenever a bottom's shape changed: give the tops their shapes, prepare scratch.
  virtual void Reshape(const Blobs& bottom, const Blobs& top) = 0;
  // The next Forward needs Reshape, though no bottom has changed: the tops get another shape.
  virtual bool wants_reshape(const Blobs& /*top*/) { return false; }
  virtual void Forward(const Blobs& bottom, const Blobs& top) = 0;
  // From the tops' diff: the diff of each bottom as `down` says; params' diffs are added to.
  virtual void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom);

  // Writes the top as the last Forward did, from bottoms that are as they were.
  virtual void Repeat(const Blobs& /*bottom*/, const Blobs& /*top*/) {}

  // ---- what it declares ----
  virtual Arity bottoms() const { return {1, 1}; }
  virtual Arity tops() const { return {1, 1}; }
  virtual Layouts layouts() const { return Layouts::kPlain; }
  virtual DTypes dtypes() const { return DTypes::kFloat32; }
  // A top may be the same blob as its bottom.
  virtual bool in_place() const { return false; }
  // In place, the sign of every value is kept, or the value becomes 0 and its gradient too.
  virtual bool keeps_sign() const { return false; }
  // Top 0 holds bottom 0's values in the same plain order: the net may let them share memory.
  virtual bool is_view() const { return false; }
  virtual bool adds_to_diff() const { return false; }
  virtual TopUse backward_reads_top() const { return TopUse::kNone; }
  // Backward reads the data of bottom i.
  virtual bool backward_reads_bottom(int /*bottom*/) const { return true; }
  // Backward can give the gradient of a param to gradient_sink(), after it has done everything else
  // with that param, so that no memory for all of it is needed.
  virtual bool streams_gradient(size_t /*param*/) const { return false; }
  // Repeat() is there: cheap enough to be done again before a backward pass that reads the top,
  // which then need not be kept.
  virtual bool can_repeat() const { return false; }
  // Bottom i can get a gradient (labels and indices cannot).
  virtual bool can_propagate(int /*bottom*/) const { return true; }
  virtual bool is_loss() const { return false; }     // its first top has loss_weight 1 by default
  virtual bool has_inputs() const { return false; }  // its tops are fed by the user
  // Reshape is called before every Forward, whatever the bottoms' shapes.
  virtual bool reshapes_each_pass() const { return false; }
  // Its blobs are handed to foreign code, which may keep them: they have memory of their own.
  virtual bool hands_out_blobs() const { return false; }
  // max(x, 0), which many layers can do while they write their top.
  virtual bool is_rectifier() const { return false; }
  // min(max(x, 0), ceiling()), which a convolution can do in inference; 0: no such layer.
  virtual float ceiling() const;
  // Each value of its one top is one of its bottom's, and gets that one's gradient from it.
  virtual bool is_selection() const { return false; }
  // The sum of its bottoms, as they are.
  virtual bool is_sum() const { return false; }
  // Forward can do `next` in the same pass, after the layers of `chain` that follow one another
  // from this one on. It then gets the last one's top, and behind its own bottoms the others of a
  // sum. `with_backward`: a backward pass may follow.
  virtual bool CanFuse(const LayerChain& /*chain*/, const Layer& /*next*/,
                       bool /*with_backward*/) const {
    return false;
  }
  // Backward does the chain's as well, from the last one's top to this layer's bottoms and those
  // of a sum; without it, each does its own.
  virtual bool fuses_backward() const { return false; }
  // ... and reads the last one's top for it, besides this layer's bottoms.
  virtual bool chain_reads_top(const LayerChain& /*chain*/) const { return false; }
  // Before each Forward: the layers it is to do as well; Backward is called for the same ones.
  void set_fused(LayerChain chain) { fused_ = std::move(chain); }
  virtual double flops(const Blobs& /*bottom*/, const Blobs& /*top*/) const { return 0; }
  // Which kernel was chosen, for the verbose line.
  virtual std::string implementation() const { return ""; }
  // Numbers a resumed run needs besides params(): counters of random draws, a place in the data.
  virtual std::vector<int64_t*> state() { return {}; }

  // ---- what the net sets ----
  const LayerSpec& spec() const { return spec_; }
  const std::string& name() const { return spec_.name; }
  const LayerContext& context() const { return context_; }
  Phase phase() const { return spec_.phase.value_or(context_.phase); }
  // In which Forward and Backward ask for the arrays of their blobs.
  Format format() const { return format_; }
  Layout layout() const { return format_.layout; }
  void set_format(Format format) { format_ = format; }
  // This layer's layout, but the element type that the net chose for the blob.
  Format format_for(const Blob& blob) const {
    return {format_.device, format_.layout, blob.format().dtype};
  }
  // A backward pass may follow, so what it reads has to be kept.
  bool needs_backward() const { return needs_backward_; }
  void set_needs_backward(bool yes) { needs_backward_ = yes; }
  const std::vector<std::shared_ptr<Blob>>& params() const { return params_; }
  // Per param: is its gradient wanted?
  bool param_propagate(size_t i) const {
    return i >= param_propagate_.size() || param_propagate_[i];
  }
  void set_param_propagate(size_t i, bool yes);

  // Null, or where Backward brings the gradients that it streams instead of adding them to diffs.
  const GradientSink& gradient_sink() const { return gradient_sink_; }
  void set_gradient_sink(GradientSink sink) { gradient_sink_ = std::move(sink); }

  void set_seed(uint64_t seed) { context_.seed = seed; }

  // Called by the registry.
  void Init(const LayerSpec& spec, const LayerContext& context);

 protected:
  virtual void ReadParams(const Value& params) = 0;
  // Adds a learnable blob filled by `filler` (a FillerParams as in filler.h, or zeros if null).
  Blob* AddParam(const Shape& shape, const struct FillerParams* filler = nullptr);
  void AddParam(std::shared_ptr<Blob> blob) { params_.push_back(std::move(blob)); }

  LayerSpec spec_;
  LayerChain fused_;  // the layers whose work Forward does as well

 private:
  LayerContext context_;
  Format format_;
  std::vector<std::shared_ptr<Blob>> params_;
  std::vector<bool> param_propagate_;
  bool needs_backward_ = true;
  GradientSink gradient_sink_;
};

// A layer with declared parameters: LayerOf<ConvolutionParams>, LayerOf<DataParams, Transform>.
template <class... P>
class LayerOf : public Layer {
 public:
  // {"elu_param": schema, ...}
  static Value schemas() {
    Value out = Value::map();
    ((out[P::fields().name] = params_schema<P>()), ...);
    return out;
  }

 protected:
  template <class Which = std::tuple_element_t<0, std::tuple<P..., int>>>
  const Which& params_of() const {
    return std::get<Which>(values_);
  }
  void ReadParams(const Value& params) override { (ReadOne<P>(params), ...); }

 private:
  template <class Which>
  void ReadOne(const Value& params) {
    const Value* v = params.find(Which::fields().name);
    if (v) std::get<Which>(values_) = read_params<Which>(*v);
  }
  std::tuple<P...> values_;
};

// A layer that maps each element of its bottom to one of its top, in place if asked to.
template <class... P>
class NeuronLayer : public LayerOf<P...> {
 public:
  void Reshape(const Blobs& bottom, const Blobs& top) override {
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }
  Layouts layouts() const override { return Layouts::kAny; }
  DTypes dtypes() const override { return DTypes::kAny; }
  bool in_place() const override { return true; }
};

// ---- registry ----
struct LayerType {
  std::string name;
  std::string doc;  // a sentence or two, for docs/layers.md
  std::function<std::unique_ptr<Layer>()> make;
  std::function<Value()> schemas;
};

// A type registered twice is an error at the first use of the registry.
bool RegisterLayer(LayerType type);
const std::vector<LayerType>& LayerTypes();  // sorted by name
// Throws pydl::Error naming the nearest type if there is none of that name, or for bad parameters.
std::unique_ptr<Layer> MakeLayer(const LayerSpec& spec, const LayerContext& context);

// One per layer file. Linked statically, pydl's own layers are kept by core/builtin_layers.cpp,
// which names every symbol this defines; a program's own layers are in its own objects anyway.
#define PYDL_REGISTER_LAYER(type, Class, doc)            \
  extern const bool registered_##Class;                  \
  const bool registered_##Class = ::pydl::RegisterLayer( \
      {type, doc, [] { return std::make_unique<Class>(); }, [] { return Class::schemas(); }})

}  // namespace pydl
