#include "core/lr_policy.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace pydl {

namespace {

double gamma_power(const SolverSpec& s, double exponent) {
  return s.base_lr * std::pow(static_cast<double>(s.gamma.value_or(0)), exponent);
}

// Of the run that is done: 0 to 1. In float, as in Caffe, which shows near the end of poly.
float progress(const SolverSpec& s, int iter) {
  return std::min(static_cast<float>(iter) / static_cast<float>(s.max_iter), 1.0f);
}

struct Policy {
  const char* name;
  double (*rate)(const SolverSpec&, int iter, int* step);
};

const Policy kPolicies[] = {
    {"fixed", [](const SolverSpec& s, int, int*) { return static_cast<double>(s.base_lr); }},
    {"step",
     [](const SolverSpec& s, int iter, int* step) {
       *step = iter / s.stepsize;
       return gamma_power(s, *step);
     }},
    {"exp", [](const SolverSpec& s, int iter, int*) { return gamma_power(s, iter); }},
    {"inv",
     [](const SolverSpec& s, int iter, int*) {
       const double base = 1 + static_cast<double>(s.gamma.value_or(0)) * iter;
       return s.base_lr * std::pow(base, -static_cast<double>(s.power));
     }},
    {"multistep",
     [](const SolverSpec& s, int iter, int* step) {
       while (*step < static_cast<int>(s.stepvalue.size()) && iter >= s.stepvalue[*step]) ++*step;
       return gamma_power(s, *step);
     }},
    {"poly",
     [](const SolverSpec& s, int iter, int*) {
       const double least = s.min_lr.value_or(0);
       return least + (s.base_lr - least) * std::pow(1 - progress(s, iter), s.power);
     }},
    {"sigmoid",
     [](const SolverSpec& s, int iter, int*) {
       const double gamma = s.gamma.value_or(0);
       return s.base_lr / (1 + std::exp(-gamma * (static_cast<double>(iter) - s.stepsize)));
     }},
    {"cosine",
     [](const SolverSpec& s, int iter, int*) {
       const double least = s.min_lr.value_or(0);
       const double wave = 1 + std::cos(std::numbers::pi * progress(s, iter));
       return least + (s.base_lr - least) * wave / 2;
     }},
    {"plateau",
     [](const SolverSpec& s, int, int* step) {
       return std::max<double>(gamma_power(s, *step), s.min_lr.value_or(0));
     }},
    {"multifixed",
     [](const SolverSpec& s, int iter, int*) {
       size_t stage = 0;
       while (stage + 1 < s.stageiter.size() && iter > s.stageiter[stage]) ++stage;
       return static_cast<double>(s.stagelr[stage]);
     }},
};

const Policy& find(const std::string& name) {
  std::vector<std::string> names;
  std::string list;
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return policy;
    names.push_back(policy.name);
    list += (list.empty() ? "" : ", ") + names.back();
  }
  fail("unknown lr_policy \"", name, "\"", did_you_mean(name, names), " (", list, ")");
}

// What a policy needs: a message, or "".
std::string lacks(const SolverSpec& s) {
  const auto is = [&](const char* name) { return s.lr_policy == name; };
  const auto got = [](const char* what, auto value) { return what + std::to_string(value); };
  if ((is("step") || is("sigmoid")) && s.stepsize <= 0) {
    return got("stepsize > 0, got ", s.stepsize);
  }
  if (is("multistep") && s.stepvalue.empty()) {
    return "stepvalue: the iterations at which the rate is multiplied by gamma";
  }
  if ((is("poly") || is("cosine")) && s.max_iter <= 0) return got("max_iter > 0, got ", s.max_iter);
  if (is("multifixed") && (s.stageiter.empty() || s.stageiter.size() != s.stagelr.size())) {
    return "a stageiter, its last iteration, and a stagelr for each stage";
  }
  if (is("plateau") && !(s.gamma > 0 && s.gamma < 1)) {
    return "gamma between 0 and 1, by which the rate is multiplied";
  }
  const bool powers = is("step") || is("exp") || is("multistep");
  if (powers && !s.gamma) return "gamma, by which the rate is multiplied; 0.1 is usual";
  if ((powers || is("inv")) && s.gamma < 0) return got("gamma >= 0, got ", *s.gamma);
  return "";
}

void check_warmup(const SolverSpec& s) {
  check(s.warmup_iters >= 0, "warmup_iters must not be negative, got ", s.warmup_iters);
  check(!s.warmup_start_lr || s.warmup_iters > 0,
        "warmup_start_lr is given without warmup_iters: over how many iterations?");
  check(s.warmup_start_lr.value_or(0) >= 0, "warmup_start_lr must not be negative, got ",
        s.warmup_start_lr.value_or(0));
}

void check_rampup(const SolverSpec& s) {
  check(s.rampup_interval >= 0, "rampup_interval must not be negative, got ", s.rampup_interval);
  check(s.rampup_interval == 0 || s.warmup_iters == 0, "rampup_interval ", s.rampup_interval,
        " and warmup_iters ", s.warmup_iters, " are both given; use one of them");
  check(s.rampup_lr.value_or(0) >= 0, "rampup_lr must not be negative, got ",
        s.rampup_lr.value_or(0));
}

void check_momentum(const SolverSpec& s) {
  const std::string& policy = s.momentum_policy;
  check(policy == "fixed" || policy == "poly" || policy == "opt", "unknown momentum_policy \"",
        policy, "\"", did_you_mean(policy, {"fixed", "poly", "opt"}), " (fixed, poly, opt)");
  check(policy != "poly" || s.max_iter > 0, "momentum_policy \"poly\" needs max_iter > 0, got ",
        s.max_iter);
}

void check_larc(const SolverSpec& s) {
  check(!s.larc || !s.local_lr_auto, "give larc or local_lr_auto, its older form, not both");
  check(s.larc_policy == "scale" || s.larc_policy == "clip", "unknown larc_policy \"",
        s.larc_policy, "\"", did_you_mean(s.larc_policy, {"scale", "clip"}), " (scale, clip)");
  check(s.larc_eta > 0 && s.local_gw_ratio > 0, "larc_eta ", s.larc_eta, " and local_gw_ratio ",
        s.local_gw_ratio, " must be positive");
}

void check_plateau(const SolverSpec& s) {
  const bool plateau = s.lr_policy == "plateau", by_loss = !s.plateau_winsize.empty();
  check(!s.plateau_patience || plateau, "plateau_patience is for lr_policy plateau; \"",
        s.lr_policy, "\" does not use it");
  check(!s.plateau_patience || !by_loss,
        "plateau_patience counts tests, plateau_winsize iterations; give one of them");
  for (const int32_t size : s.plateau_winsize) {
    check(size > 0, "plateau_winsize must be positive, got ", size);
  }
  check(s.average_loss > 0, "average_loss must be positive, got ", s.average_loss);
}

}  // namespace

float learning_rate(const SolverSpec& spec, int iter, int* current_step) {
  if (iter < spec.rampup_interval) {
    const double start = spec.rampup_lr.value_or(0);
    return static_cast<float>(start + (spec.base_lr - start) * iter / spec.rampup_interval);
  }
  const double rate = find(spec.lr_policy).rate(spec, iter, current_step);
  if (iter >= spec.warmup_iters) return static_cast<float>(rate);
  const double start = spec.warmup_start_lr.value_or(0);
  return static_cast<float>(start + (rate - start) * iter / spec.warmup_iters);
}

void check_lr_policy(const SolverSpec& spec) {
  const std::string policy = find(spec.lr_policy).name;
  check(std::is_sorted(spec.stepvalue.begin(), spec.stepvalue.end()),
        "stepvalue must not decrease");
  const std::string need = lacks(spec);
  check(need.empty(), "lr_policy \"", policy, "\" needs ", need);
  check_warmup(spec);
  check_rampup(spec);
  check_momentum(spec);
  check_larc(spec);
  check_plateau(spec);
  const bool has_least = policy == "plateau" || policy == "cosine" || policy == "poly";
  check(spec.min_lr.value_or(0) == 0 || has_least,
        "min_lr is for lr_policy cosine, plateau and poly; \"", policy, "\" does not use it");
  check(!spec.min_lr || (*spec.min_lr >= 0 && *spec.min_lr <= spec.base_lr),
        "min_lr must be from 0 to base_lr, got ", spec.min_lr.value_or(0));
}

float momentum_at(const SolverSpec& spec, int iter, float rate) {
  if (spec.momentum_policy == "poly") {
    const double rise = std::pow(progress(spec, iter), spec.momentum_power);
    const float most = spec.max_momentum.value_or(0.99f);
    return static_cast<float>(spec.momentum + (most - spec.momentum) * rise);
  }
  if (spec.momentum_policy == "opt") {
    const double root = 1 - 0.5 * std::sqrt(rate);
    return std::min(spec.max_momentum.value_or(1), static_cast<float>(root * root));
  }
  return spec.momentum;
}

bool adapts_rates(const SolverSpec& spec) { return spec.larc || spec.local_lr_auto; }

float adapted_rate(const SolverSpec& spec, float rate, double weights, double gradient) {
  const double eta = spec.larc ? spec.larc_eta : spec.local_gw_ratio;
  const double decay = spec.larc ? 0 : spec.weight_decay;
  const bool known = weights > 0 && gradient > 0;
  const auto local = static_cast<float>(known ? eta * weights / (gradient + decay * weights) : 1);
  return spec.larc && spec.larc_policy == "clip" ? std::min(rate, local) : rate * local;
}

}  // namespace pydl
