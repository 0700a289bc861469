#include "pydl/solver.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/debug_info.h"
#include "core/lr_policy.h"
#include "core/memory.h"
#include "core/safetensors.h"
#include "core/score_watch.h"
#include "core/update_rule.h"
#include "core/weight_noise.h"
#include "kernels/eltwise.h"
#include "kernels/update.h"

namespace pydl {

// Arrays laid out as the weights' arena: the update rule's history, and the weights' average.
struct SolverHistory {
  std::vector<std::shared_ptr<std::byte>> memory;
  std::vector<float*> arrays;
  float* average = nullptr;
  bool averaged = false;  // there is something in it

  float* Add(int64_t size) {
    memory.push_back(allocate(size * int64_t{sizeof(float)}));
    return reinterpret_cast<float*>(memory.back().get());
  }
};

Solver::Solver(SolverSpec spec, std::shared_ptr<Net> net)
    : spec_(std::move(spec)), net_(std::move(net)), rule_(std::make_unique<UpdateRule>(spec_)) {
  check(net_ != nullptr, "a solver needs a net");
  check(spec_.iter_size >= 1, "iter_size must be at least 1, got ", spec_.iter_size);
  check(spec_.ema_decay >= 0 && spec_.ema_decay < 1,
        "ema_decay must be at least 0 and less than 1, got ", spec_.ema_decay);
  check_lr_policy(spec_);
  check_watch(spec_);
  history_ = std::make_unique<SolverHistory>();
  for (int i = 0; i < rule_->history_count(); ++i) {
    history_->arrays.push_back(history_->Add(net_->arena_size()));
  }
  if (spec_.ema_decay > 0) history_->average = history_->Add(net_->arena_size());
}

Solver::~Solver() = default;

std::vector<float*> Solver::history() { return history_->arrays; }

float Solver::lr() const { return learning_rate(spec_, iter_, &current_step_); }

float Solver::momentum() const { return momentum_at(spec_, iter_, lr()); }

void Solver::Observe(double score) {
  if (watch_score(spec_, score, &watch_)) ++current_step_;
}

bool Solver::should_stop() const {
  return spec_.early_stop_patience > 0 && watch_.since_best >= spec_.early_stop_patience;
}

double Solver::Step() {
  BeginAverage();
  net_->ClearParamDiffs();
  net_->set_iteration(iter_);
  for (const auto& call : on_start) call();
  double loss = 0;
  if (!needs_whole_gradients() && net_->gradients_can_go()) {
    StepByParam(&loss);
  } else {
    StepAtOnce(&loss);
  }
  ++iter_;
  return loss / spec_.iter_size;
}

bool Solver::needs_whole_gradients() const {
  return spec_.iter_size > 1 || spec_.clip_gradients >= 0 || adapts_rates(spec_) ||
         !on_gradients_ready.empty() || debug || touches_whole_params();
}

// The norm of a row, which may lie in two parts of a gradient, and weights without noise for the
// update.
bool Solver::touches_whole_params() const {
  const auto touched = [](const NetParam& p) {
    return p.max_norm > 0 || p.noise > 0 || p.dropout_ratio > 0;
  };
  const std::vector<NetParam>& params = net_->params();
  return std::any_of(params.begin(), params.end(), touched);
}

// With plateau_winsize the loss of an iteration counts for its own update, as in SSD.
void Solver::ObserveLoss(double loss) {
  if (watch_loss(spec_, loss, iter_, current_step_, &watch_)) ++current_step_;
}

void Solver::StepAtOnce(double* loss) {
  std::optional<DebugInfo> info;
  if (debug) info.emplace(net_.get(), debug);
  for (int i = 0; i < spec_.iter_size; ++i) {
    const WeightNoise noise(net_.get(), int64_t{iter_} * spec_.iter_size + i);
    *loss += net_->Forward();
    CheckLoss(*loss);
    net_->Backward();
  }
  ObserveLoss(*loss / spec_.iter_size);
  for (const auto& call : on_gradients_ready) call();
  if (info) info->BeforeUpdate();
  ApplyUpdate();
  if (info) info->AfterUpdate();
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
    ObserveLoss(*loss);
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
  BeginAverage();
  const float scale = ClipFactor() / static_cast<float>(spec_.iter_size);
  float* gradients = net_->gradients();
  const std::vector<NetParam>& params = net_->params();
  for (size_t i = 0; i < params.size(); ++i) {
    Update(static_cast<int>(i), 0, params[i].blob->count(), scale, gradients + params[i].offset);
  }
  net_->weights_changed();
}

float Solver::weight_decay(const NetParam& param) const {
  const bool exempt = !spec_.decay_vectors && param.blob->axes() <= 1;
  return exempt ? 0 : spec_.weight_decay * param.decay_mult;
}

// With larc or local_lr_auto, by the norms of the parameter and of its gradient, which `scale` is
// applied to: large batches (You et al., arXiv:1708.03888). A lr_mult then only says whether.
float Solver::Rate(const NetParam& param, float scale, const float* gradient) const {
  if (!adapts_rates(spec_)) return lr() * param.lr_mult;
  const auto& kernels = kernels::eltwise_kernels();
  const int64_t count = param.blob->count();
  const double weights = std::sqrt(kernels.sumsq(count, net_->weights() + param.offset));
  return adapted_rate(spec_, lr(), weights, scale * std::sqrt(kernels.sumsq(count, gradient)));
}

void Solver::Update(int param, int64_t begin, int64_t count, float scale, float* gradient) {
  const NetParam& p = net_->params()[param];
  if (p.lr_mult == 0) return;  // Caffe goes on with its history, to no effect
  const int64_t offset = p.offset + begin;
  const float rate = Rate(p, scale, gradient);
  rule_->Update({offset, count, scale, rate, momentum(), weight_decay(p), iter_}, net_->weights(),
                gradient, history_->arrays);
  if (p.max_norm > 0) LimitNorms(p);
  if (!history_->average) return;
  const double keep = std::min<double>(spec_.ema_decay, (1.0 + iter_) / (10.0 + iter_));
  kernels::update_kernels().average(count, static_cast<float>(1 - keep), net_->weights() + offset,
                                    history_->average + offset);
}

// Rows along axis 0 are units with their incoming weights (Srivastava et al. 2014, section 5.1).
void Solver::LimitNorms(const NetParam& p) {
  const int64_t rows = p.blob->axes() > 0 ? p.blob->shape(0) : 1;
  kernels::update_kernels().limit_norms(rows, p.blob->count() / std::max<int64_t>(rows, 1),
                                        p.max_norm, net_->weights() + p.offset);
}

bool Solver::has_average() const { return history_->averaged; }

void Solver::BeginAverage() {
  if (history_->average && !history_->averaged) SetAverage();
}

void Solver::SetAverage() {
  check(history_->average, "this solver keeps no average of its weights: set ema_decay");
  for (const NetParam& p : net_->params()) {
    std::copy_n(p.blob->data(), p.blob->count(), history_->average + p.offset);
  }
  history_->averaged = true;
}

void Solver::ForgetAverage() { history_->averaged = false; }

void Solver::SwapAverage() {
  if (!has_average()) return;
  for (const NetParam& p : net_->params()) {
    if (p.lr_mult == 0) continue;
    float* weights = p.blob->update_data();
    std::swap_ranges(weights, weights + p.blob->count(), history_->average + p.offset);
  }
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
    if (has_average()) {
      tensors.push_back({"average/" + name, param.blob->shape(), history_->average + param.offset});
    }
  }
  Value layers = Value::map();
  for (const auto& [name, values] : net_->layer_state()) {
    layers[name] = Value::List(values.begin(), values.end());
  }
  const Value state{{"iter", iter_},
                    {"current_step", current_step_},
                    {"watch", params_value(watch_)},
                    {"averaged", has_average()},
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
  const Value* watch = state.find("watch");
  const ScoreWatch seen = watch ? read_params<ScoreWatch>(*watch) : ScoreWatch();
  const Value* averaged = state.find("averaged");
  const bool average = history_->average && averaged && averaged->as_bool();
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
      if (!average) continue;
      const float* mean = tensor("average/" + name, *param.blob);
      if (write) std::copy_n(mean, param.blob->count(), history_->average + param.offset);
    }
  }
  history_->averaged = average;
  watch_ = seen;
  iter_ = static_cast<int>(state.find("iter")->as_int());
  current_step_ = static_cast<int>(state.find("current_step")->as_int());
  net_->set_seed(std::stoull(state.find("seed")->as_text()));
  net_->set_layer_state(layers);
}

}  // namespace pydl
