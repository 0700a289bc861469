#include "core/lr_policy.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pydl {

namespace {

using Formula = double (*)(const SolverSpec&, int iter, int* step);

struct Policy {
  const char* name;
  Formula factor;  // of base_lr
};

const Policy kPolicies[] = {
    {"fixed", [](const SolverSpec&, int, int*) { return 1.0; }},
    {"step",
     [](const SolverSpec& s, int iter, int* step) {
       *step = iter / s.stepsize;
       return std::pow(static_cast<double>(s.gamma), *step);
     }},
    {"exp", [](const SolverSpec& s, int iter,
               int*) { return std::pow(static_cast<double>(s.gamma), iter); }},
    {"inv",
     [](const SolverSpec& s, int iter, int*) {
       return std::pow(1 + static_cast<double>(s.gamma) * iter, -static_cast<double>(s.power));
     }},
    {"multistep",
     [](const SolverSpec& s, int iter, int* step) {
       while (*step < static_cast<int>(s.stepvalue.size()) && iter >= s.stepvalue[*step]) ++*step;
       return std::pow(static_cast<double>(s.gamma), *step);
     }},
    {"poly",
     [](const SolverSpec& s, int iter, int*) {
       const double left = 1 - static_cast<double>(iter) / s.max_iter;
       return std::pow(std::max(left, 0.0), static_cast<double>(s.power));
     }},
    {"sigmoid",
     [](const SolverSpec& s, int iter, int*) {
       return 1 / (1 + std::exp(-static_cast<double>(s.gamma) *
                                (static_cast<double>(iter) - s.stepsize)));
     }},
};

const Policy& find(const std::string& name) {
  std::vector<std::string> names;
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return policy;
    names.push_back(policy.name);
  }
  fail("unknown lr_policy \"", name, "\"", did_you_mean(name, names));
}

}  // namespace

float learning_rate(const SolverSpec& spec, int iter, int* current_step) {
  return static_cast<float>(spec.base_lr * find(spec.lr_policy).factor(spec, iter, current_step));
}

void check_lr_policy(const SolverSpec& spec) {
  const std::string policy = find(spec.lr_policy).name;
  check(policy != "step" || spec.stepsize > 0, "lr_policy \"step\" needs stepsize > 0, got ",
        spec.stepsize);
  check(policy != "poly" || spec.max_iter > 0, "lr_policy \"poly\" needs max_iter > 0, got ",
        spec.max_iter);
  check(std::is_sorted(spec.stepvalue.begin(), spec.stepvalue.end()),
        "stepvalue must not decrease");
}

}  // namespace pydl
