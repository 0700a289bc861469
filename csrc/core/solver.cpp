#include "pydl/solver.h"

#include <cmath>

#include "core/check.h"
#include "core/lr_policy.h"
#include "core/memory.h"
#include "core/safetensors.h"
#include "core/update_rule.h"
#include "kernels/eltwise.h"

namespace pydl {

// The update rule's history: arrays laid out as the weights' arena.
struct SolverHistory {
  std::vector<std::shared_ptr<std::byte>> memory;
  std::vector<float*> arrays;
};

Solver::Solver(SolverSpec spec, std::shared_ptr<Net> net)
    : spec_(std::move(spec)), net_(std::move(net)), rule_(make_update_rule(spec_)) {
  check(net_ != nullptr, "a solver needs a net");
  check(spec_.iter_size >= 1, "iter_size must be at least 1, got ", spec_.iter_size);
  check(spec_.momentum >= 0, "momentum must not be negative, got ", spec_.momentum);
  check(spec_.regularization_type == "L2" || spec_.regularization_type == "L1",
        "unknown regularization_type \"", spec_.regularization_type, "\"",
        did_you_mean(spec_.regularization_type, {"L1", "L2"}));
  check_lr_policy(spec_);
  history_ = std::make_unique<SolverHistory>();
  for (int i = 0; i < rule_->history_count(); ++i) {
    history_->memory.push_back(allocate(net_->arena_size() * int64_t{sizeof(float)}));
    history_->arrays.push_back(reinterpret_cast<float*>(history_->memory.back().get()));
  }
}

Solver::~Solver() = default;

std::vector<float*> Solver::history() { return history_->arrays; }

float Solver::lr() const { return learning_rate(spec_, iter_, &current_step_); }

double Solver::Step() {
  net_->ClearParamDiffs();
  for (const auto& call : on_start) call();
  double loss = 0;
  const bool all_at_once =
      spec_.iter_size > 1 || spec_.clip_gradients >= 0 || !on_gradients_ready.empty();
  if (!all_at_once && net_->gradients_can_go()) {
    StepByParam(&loss);
  } else {
    for (int i = 0; i < spec_.iter_size; ++i) {
      loss += net_->Forward();
      CheckLoss(loss);
      net_->Backward();
    }
    for (const auto& call : on_gradients_ready) call();
    ApplyUpdate();
  }
  ++iter_;
  return loss / spec_.iter_size;
}

void Solver::CheckLoss(double loss) const {
  check(!stop_on_nan || std::isfinite(loss), "the loss is ", loss, " at iteration ", iter_,
        "; try a smaller base_lr, clip_gradients, or a look at the data");
}

namespace {

// Lets a net's gradients go while it is there.
class Taking {
 public:
  Taking(Net* net, Net::TakeGradient take) : net_(*net) { net_.set_take_gradient(std::move(take)); }
  ~Taking() { net_.set_take_gradient(nullptr); }

 private:
  Net& net_;
};

}  // namespace

void Solver::StepByParam(double* loss) {
  const std::vector<NetParam>& params = net_->params();
  std::vector<bool> updated(params.size(), false);
  {
    const Taking taking(net_.get(), [&](int param, int64_t begin, int64_t n, float* gradient) {
      updated[param] = true;
      Update(param, begin, n, 1, gradient);
    });
    *loss = net_->Forward();
    CheckLoss(*loss);
    net_->Backward();
  }
  for (size_t i = 0; i < params.size(); ++i) {  // no gradient, but perhaps momentum and decay
    const Blob& blob = *params[i].blob;
    if (!updated[i]) Update(static_cast<int>(i), 0, blob.count(), 1, params[i].blob->update_diff());
  }
  net_->weights_changed();
}

// Clipping looks at the sum over all of iter_size, before anything else is done to it, as in Caffe.
float Solver::ClipFactor() const {
  if (spec_.clip_gradients < 0) return 1;
  const auto& kernels = kernels::eltwise_kernels();
  const double norm = std::sqrt(kernels.sumsq(net_->arena_size(), net_->gradients()));
  return norm > spec_.clip_gradients ? static_cast<float>(spec_.clip_gradients / norm) : 1;
}

void Solver::ApplyUpdate() {
  const float scale = ClipFactor() / static_cast<float>(spec_.iter_size);
  float* gradients = net_->gradients();
  const std::vector<NetParam>& params = net_->params();
  for (size_t i = 0; i < params.size(); ++i) {
    Update(static_cast<int>(i), 0, params[i].blob->count(), scale, gradients + params[i].offset);
  }
  net_->weights_changed();
}

void Solver::Update(int param, int64_t begin, int64_t count, float scale, float* gradient) {
  const NetParam& p = net_->params()[param];
  if (p.lr_mult == 0) return;
  rule_->Update(
      {p.offset + begin, count, scale, lr() * p.lr_mult, spec_.weight_decay * p.decay_mult, iter_},
      net_->weights(), gradient, history_->arrays);
}

void Solver::Snapshot(const std::string& path) const {
  std::vector<TensorEntry> tensors;
  for (const NetParam& param : net_->params()) {
    const std::string name =
        net_->layers()[param.layer].layer->name() + "/" + std::to_string(param.index);
    tensors.push_back({name, param.blob->shape(), param.blob->data()});
    for (size_t h = 0; h < history_->arrays.size(); ++h) {
      tensors.push_back({"history" + std::to_string(h) + "/" + name, param.blob->shape(),
                         history_->arrays[h] + param.offset});
    }
  }
  Value layers = Value::map();
  for (const auto& [name, values] : net_->layer_state()) {
    layers[name] = Value::List(values.begin(), values.end());
  }
  const Value state{{"iter", iter_},
                    {"current_step", current_step_},
                    {"seed", std::to_string(net_->options().seed)},
                    {"layers", layers}};
  write_safetensors(path, tensors, {{"pydl.solver", state.json()}});
}

void Solver::Restore(const std::string& path) {
  const SafetensorsFile file(path);
  const auto text = file.metadata().find("pydl.solver");
  check(text != file.metadata().end(), path, ": holds no solver state");
  const Value state = Value::from_json(text->second);
  const auto tensor = [&](const std::string& name, const Blob& blob) {
    const TensorEntry* t = file.find(name);
    check(t, path, ": lacks tensor \"", name, "\" of this net");
    check(t->shape == blob.shape(), path, ": tensor \"", name, "\" has shape ",
          shape_text(t->shape), ", but the net's has ", shape_text(blob.shape()));
    return t->data;
  };
  std::map<std::string, std::vector<int64_t>> layers;
  for (const auto& [name, values] : state.find("layers")->as_map()) {
    for (const Value& v : values.as_list()) layers[name].push_back(v.as_int());
  }
  for (const bool write : {false, true}) {  // all is checked before anything is changed
    for (const NetParam& param : net_->params()) {
      const std::string name =
          net_->layers()[param.layer].layer->name() + "/" + std::to_string(param.index);
      const float* weights = tensor(name, *param.blob);
      if (write) net_->SetParam(param.layer, param.index, param.blob->shape(), weights);
      for (size_t h = 0; h < history_->arrays.size(); ++h) {
        const float* past = tensor("history" + std::to_string(h) + "/" + name, *param.blob);
        if (write) std::copy(past, past + param.blob->count(), history_->arrays[h] + param.offset);
      }
    }
  }
  iter_ = static_cast<int>(state.find("iter")->as_int());
  current_step_ = static_cast<int>(state.find("current_step")->as_int());
  net_->set_seed(std::stoull(state.find("seed")->as_text()));
  net_->set_layer_state(layers);
}

}  // namespace pydl
