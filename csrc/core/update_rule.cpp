#include "core/update_rule.h"

#include "core/check.h"
#include "kernels/update.h"

namespace pydl {

namespace {

// Gradient descent with momentum: h = momentum h + rate g, w -= h.
class Sgd final : public UpdateRule {
 public:
  explicit Sgd(const SolverSpec& spec)
      : momentum_(spec.momentum), l1_(spec.regularization_type == "L1") {}
  int history_count() const override { return 1; }

  void Update(const UpdateStep& s, float* weights, float* gradient,
              const std::vector<float*>& history) override {
    const kernels::UpdateShape shape{s.count, s.grad_scale, s.weight_decay, l1_, s.rate, momentum_};
    kernels::update_kernels().sgd(shape, weights + s.offset, gradient, history[0] + s.offset);
  }

 private:
  float momentum_;
  bool l1_;
};

struct RuleType {
  const char* name;
  std::unique_ptr<UpdateRule> (*make)(const SolverSpec&);
};

const RuleType kRules[] = {
    {"SGD",
     [](const SolverSpec& s) -> std::unique_ptr<UpdateRule> { return std::make_unique<Sgd>(s); }},
};

}  // namespace

std::unique_ptr<UpdateRule> make_update_rule(const SolverSpec& spec) {
  std::vector<std::string> names;
  for (const RuleType& rule : kRules) {
    if (spec.type == rule.name) return rule.make(spec);
    names.push_back(rule.name);
  }
  fail("unknown solver type \"", spec.type, "\"; this pydl has ", names[0]);
}

}  // namespace pydl
