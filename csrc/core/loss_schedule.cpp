#include "core/loss_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "core/check.h"

namespace pydl {

namespace {

using Schedule = LossWeightSchedule;

struct Policy {
  const char* name;
  // Of the difference between start and end, what is left at p.
  double (*left)(const Schedule&, double p);
};

const Policy kPolicies[] = {
    {"linear", [](const Schedule&, double p) { return 1 - p; }},
    {"poly", [](const Schedule& s, double p) { return std::pow(1 - p, double{s.power}); }},
    {"cosine", [](const Schedule&, double p) { return (1 + std::cos(std::numbers::pi * p)) / 2; }},
    {"step", [](const Schedule&, double p) { return p < 1 ? 1.0 : 0.0; }},
};

const Policy& find(const std::string& name) {
  std::vector<std::string> names;
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return policy;
    names.push_back(policy.name);
  }
  fail("unknown policy \"", name, "\" in loss_weight_schedule", did_you_mean(name, names),
       " (linear, poly, cosine, step)");
}

}  // namespace

float loss_factor(const Schedule& s, int iter) {
  int64_t done = std::max<int64_t>(int64_t{iter} - s.delay, 0);
  if (s.period > 0) done %= s.period;
  const double p = std::min(static_cast<double>(done) / s.iterations, 1.0);
  return static_cast<float>(s.end + (double{s.start} - s.end) * find(s.policy).left(s, p));
}

void check_loss_schedule(const Schedule& s) {
  find(s.policy);
  check(s.iterations > 0, "loss_weight_schedule needs iterations > 0, got ", s.iterations);
  check(s.delay >= 0, "loss_weight_schedule: delay must not be negative, got ", s.delay);
  check(s.period == 0 || s.period >= s.iterations, "loss_weight_schedule: a period of ", s.period,
        " is shorter than its ", s.iterations, " iterations");
  check(s.power > 0, "loss_weight_schedule: power must be positive, got ", s.power);
  check(s.power == 1 || s.policy == "poly",
        "loss_weight_schedule: power is for policy \"poly\"; \"", s.policy, "\" does not use it");
}

}  // namespace pydl
