#include "core/update_rule.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/check.h"

namespace pydl {

namespace {

using kernels::UpdateKernels;
using kernels::UpdateShape;

void check_fraction(const char* name, float value) {
  check(value >= 0 && value < 1, name, " must be at least 0 and less than 1, got ", value);
}

void check_nothing(const SolverSpec&) {}

void check_no_momentum(const SolverSpec& s) {
  check(s.momentum == 0, "momentum cannot be used with type \"", s.type, "\", got ", s.momentum,
        "; leave it out, or use type \"Adam\"");
}

void check_rmsprop(const SolverSpec& s) {
  check_no_momentum(s);
  check_fraction("rms_decay", s.rms_decay);
}

void check_adadelta(const SolverSpec& s) { check_fraction("momentum", s.momentum); }

void check_adam(const SolverSpec& s) {
  check_fraction("momentum", s.momentum);
  check_fraction("momentum2", s.momentum2);
}

void prepare_nothing(int, UpdateShape*) {}

// The correction of both means for their start at zero; delta stays outside of it, as in Caffe.
void prepare_adam(int iter, UpdateShape* s) {
  const double t = iter + 1;
  s->rate *= static_cast<float>(std::sqrt(1 - std::pow(static_cast<double>(s->momentum2), t)) /
                                (1 - std::pow(static_cast<double>(s->momentum), t)));
}

// Loshchilov and Hutter, arXiv:1711.05101: weights decay by rate * weight_decay beside the step,
// and delta is added to the corrected root.
void prepare_adamw(int iter, UpdateShape* s) {
  s->decoupled_decay = s->rate * s->weight_decay;
  s->weight_decay = 0;
  s->delta *=
      static_cast<float>(std::sqrt(1 - std::pow(static_cast<double>(s->momentum2), iter + 1)));
  prepare_adam(iter, s);
}

const UpdateRule::Type kTypes[] = {
    {"SGD", &UpdateKernels::sgd, nullptr, check_nothing, prepare_nothing},
    {"Nesterov", &UpdateKernels::nesterov, nullptr, check_nothing, prepare_nothing},
    {"AdaGrad", &UpdateKernels::adagrad, nullptr, check_no_momentum, prepare_nothing},
    {"RMSProp", &UpdateKernels::rmsprop, nullptr, check_rmsprop, prepare_nothing},
    {"AdaDelta", nullptr, &UpdateKernels::adadelta, check_adadelta, prepare_nothing},
    {"Adam", nullptr, &UpdateKernels::adam, check_adam, prepare_adam},
    {"AdamW", nullptr, &UpdateKernels::adam, check_adam, prepare_adamw},
};

const UpdateRule::Type& find_type(const std::string& name) {
  std::vector<std::string> names;
  std::string list;
  for (const UpdateRule::Type& type : kTypes) {
    if (name == type.name) return type;
    names.push_back(type.name);
    list += (list.empty() ? "" : ", ") + names.back();
  }
  fail("unknown solver type \"", name, "\"", did_you_mean(name, names), " (", list, ")");
}

// Of the decay: the rest is L2.
float l1_share(const SolverSpec& s) {
  const std::string& type = s.regularization_type;
  const std::vector<std::string> types{"L1", "L2", "ElasticNet"};
  check(std::find(types.begin(), types.end(), type) != types.end(),
        "unknown regularization_type \"", type, "\"", did_you_mean(type, types),
        " (L1, L2, ElasticNet)");
  const bool elastic = type == "ElasticNet";
  check(!s.l1_ratio || elastic, "l1_ratio is for regularization_type \"ElasticNet\"; \"", type,
        "\" does not use it");
  const float ratio = s.l1_ratio.value_or(0.5f);
  check(ratio >= 0 && ratio <= 1, "l1_ratio must be from 0 to 1, got ", ratio);
  return elastic ? ratio : type == "L1" ? 1 : 0;
}

void check_clipping(const SolverSpec& s) {
  check(s.clip_gradients < 0 || s.clip_value < 0, "clip_gradients ", s.clip_gradients,
        ", by norm, and clip_value ", s.clip_value, " are both given; use one of them");
  check(!std::isnan(s.clip_value), "clip_value must be a number");
}

}  // namespace

UpdateRule::UpdateRule(const SolverSpec& spec) : type_(find_type(spec.type)) {
  check(spec.momentum >= 0, "momentum must not be negative, got ", spec.momentum);
  check(spec.delta >= 0, "delta must not be negative, got ", spec.delta);
  check_clipping(spec);
  type_.check(spec);
  const bool plain = spec.type == "SGD" || spec.type == "Nesterov";
  check(plain || spec.momentum_policy == "fixed",
        "momentum_policy is for type \"SGD\" and \"Nesterov\", not \"", spec.type, "\"");
  shape_ = {.n = 0,
            .l1 = l1_share(spec),
            .momentum = spec.momentum,
            .momentum2 = spec.type == "RMSProp" ? spec.rms_decay : spec.momentum2,
            .delta = spec.delta};
  if (spec.clip_value >= 0) shape_.clip = spec.clip_value;
}

void UpdateRule::Update(const UpdateStep& step, float* weights, float* gradient,
                        const std::vector<float*>& history) const {
  UpdateShape shape = shape_;
  shape.n = step.count;
  shape.grad_scale = step.grad_scale;
  shape.weight_decay = step.weight_decay;
  shape.rate = step.rate;
  shape.momentum = step.momentum;
  type_.prepare(step.iter, &shape);
  const UpdateKernels& kernels = kernels::update_kernels();
  float *w = weights + step.offset, *h = history[0] + step.offset;
  if (type_.one) {
    (kernels.*type_.one)(shape, w, gradient, h);
  } else {
    (kernels.*type_.two)(shape, w, gradient, h, history[1] + step.offset);
  }
}

}  // namespace pydl
