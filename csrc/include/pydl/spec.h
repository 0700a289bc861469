// A net as plain data: what prototxt, a bundle or a C++ program describes, before it is built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pydl/fields.h"
#include "pydl/value.h"

namespace pydl {

enum class Phase { kTrain = 0, kTest = 1 };
constexpr std::array<EnumName, 2> enum_names(Phase) { return {{{"TRAIN", 0}, {"TEST", 1}}}; }

enum class ShareMode { kStrict = 0, kPermissive = 1 };
constexpr std::array<EnumName, 2> enum_names(ShareMode) {
  return {{{"STRICT", 0}, {"PERMISSIVE", 1}}};
}

// Of activations and their gradients. Weights, sums and losses are float32 in any case.
enum class Precision { kFloat32 = 0, kBf16 = 1 };
constexpr std::array<EnumName, 2> enum_names(Precision) { return {{{"FLOAT32", 0}, {"BF16", 1}}}; }

// How freely float32 sums may be rearranged: docs/performance.md has the errors of each.
enum class Arithmetic { kFast = 0, kStrict = 1, kDirect = 2 };
constexpr std::array<EnumName, 3> enum_names(Arithmetic) {
  return {{{"FAST", 0}, {"STRICT", 1}, {"DIRECT", 2}}};
}

// One learnable blob of a layer. Blobs with the same name are one.
struct ParamSpec {
  std::string name;
  ShareMode share_mode = ShareMode::kStrict;            // permissive: only the counts must agree
  std::optional<float> lr_mult, decay_mult;             // 1 if absent
  std::optional<float> max_norm, noise, dropout_ratio;  // none if absent

  static auto fields() {
    return Fields("param", Field("name", &ParamSpec::name, "layers naming it alike share the blob"),
                  Field("share_mode", &ParamSpec::share_mode, "PERMISSIVE: only counts must agree"),
                  Field("lr_mult", &ParamSpec::lr_mult, "factor on the learning rate"),
                  Field("decay_mult", &ParamSpec::decay_mult, "factor on the weight decay"),
                  Field("max_norm", &ParamSpec::max_norm, "greatest L2 norm of each row"),
                  Field("noise", &ParamSpec::noise, "deviation of noise on it in training"),
                  Field("dropout_ratio", &ParamSpec::dropout_ratio,
                        "probability of each weight to be 0 for a pass of training"));
  }
};

// A factor on a layer's loss weights that goes from `start` to `end` while a solver trains the net.
struct LossWeightSchedule {
  std::string policy = "linear";
  float start = 0, end = 1, power = 1;
  int32_t iterations = 0, delay = 0, period = 0;

  static auto fields() {
    using S = LossWeightSchedule;
    return Fields("loss_weight_schedule",
                  Field("policy", &S::policy, "linear, poly, cosine or step"),
                  Field("start", &S::start, "factor on loss_weight at the start"),
                  Field("end", &S::end, "... and from then on"),
                  Field("iterations", &S::iterations, "how many it takes; required"),
                  Field("delay", &S::delay, "iterations before it begins"),
                  Field("period", &S::period, "begins anew after so many iterations; 0: never"),
                  Field("power", &S::power, "exponent of poly"));
  }
};

// When a layer is part of a net: all that is set must hold.
struct StateRule {
  std::optional<Phase> phase;
  std::optional<int32_t> min_level, max_level;
  std::vector<std::string> stage, not_stage;

  static auto fields() {
    return Fields("rule", Field("phase", &StateRule::phase, "TRAIN or TEST"),
                  Field("min_level", &StateRule::min_level, "least level of the net"),
                  Field("max_level", &StateRule::max_level, "greatest level of the net"),
                  Field("stage", &StateRule::stage, "stages that must all be set"),
                  Field("not_stage", &StateRule::not_stage, "stages of which none may be set"));
  }
};

struct LayerSpec {
  std::string name, type;
  std::string where;  // "lenet.prototxt:42", for messages
  std::vector<std::string> bottom, top;
  std::vector<float> loss_weight;  // one per top, or empty
  std::optional<LossWeightSchedule> loss_weight_schedule;
  std::vector<bool> propagate_down;  // one per bottom, or empty: decided by the net
  std::vector<ParamSpec> param;
  std::vector<StateRule> include, exclude;
  std::optional<Phase> phase;   // of this layer alone
  Value params = Value::map();  // {"convolution_param": {...}, ...}

  static auto fields() {
    return Fields(
        "layer", Field("name", &LayerSpec::name, "unique in the net"),
        Field("type", &LayerSpec::type, "layer type"),
        Field("where", &LayerSpec::where, "file and line it came from"),
        Field("bottom", &LayerSpec::bottom, "blobs read"),
        Field("top", &LayerSpec::top, "blobs written"),
        Field("loss_weight", &LayerSpec::loss_weight, "weight of each top in the loss"),
        Field("loss_weight_schedule", &LayerSpec::loss_weight_schedule, "a factor on them"),
        Field("propagate_down", &LayerSpec::propagate_down, "per bottom: backward or not"),
        Field("param", &LayerSpec::param, "settings of each learnable blob"),
        Field("include", &LayerSpec::include, "the layer is used if any rule holds"),
        Field("exclude", &LayerSpec::exclude, "the layer is used if no rule holds"),
        Field("phase", &LayerSpec::phase, "overrides the net's phase"),
        Field("params", &LayerSpec::params, "layer-specific parameters"));
  }
};

struct NetSpec {
  std::string name;
  Phase phase = Phase::kTrain;
  int32_t level = 0;
  std::vector<std::string> stages;
  bool force_backward = false;  // gradients for all bottoms that can have one, inputs included
  bool debug_info = false;
  Precision precision = Precision::kFloat32;
  Arithmetic arithmetic = Arithmetic::kFast;
  bool autotune = false;       // time a convolution's kernels once, and keep the fastest
  bool deterministic = false;  // no autotune: results depend on nothing but the instruction set
  std::vector<LayerSpec> layers;

  static auto fields() {
    return Fields("net", Field("name", &NetSpec::name, "for people"),
                  Field("phase", &NetSpec::phase, "TRAIN or TEST"),
                  Field("level", &NetSpec::level, "for rules with min_level or max_level"),
                  Field("stages", &NetSpec::stages, "for rules with stage or not_stage"),
                  Field("force_backward", &NetSpec::force_backward, "gradients for inputs too"),
                  Field("debug_info", &NetSpec::debug_info, "report mean values of all blobs"),
                  Field("precision", &NetSpec::precision, "of activations: FLOAT32 or BF16"),
                  Field("arithmetic", &NetSpec::arithmetic, "FAST, STRICT or DIRECT convolution"),
                  Field("autotune", &NetSpec::autotune, "time kernels once, keep the fastest"),
                  Field("deterministic", &NetSpec::deterministic, "no autotune"),
                  Field("layers", &NetSpec::layers, "in order of execution"));
  }

  // Both throw pydl::Error naming the field or layer.
  static NetSpec from_value(const Value& value);
  Value to_value() const;

  // Adds a layer, for building a net in code:
  //   spec.add("conv1", "Convolution", {"data"}, {"conv1"},
  //            {{"convolution_param", {{"num_output", 20}, {"kernel_size", 5}}}});
  LayerSpec& add(const std::string& name, const std::string& type, std::vector<std::string> bottom,
                 std::vector<std::string> top, Value params = Value::map());
};

// True if the layer is part of a net with the spec's phase, level and stages.
bool included(const LayerSpec& layer, const NetSpec& net);

}  // namespace pydl
