// Training: learning-rate policies, the update, and what a run needs to go on after a stop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pydl/net.h"

namespace pydl {

// The part of Caffe's SolverParameter that decides the numbers; files, tests and display are the
// caller's.
struct SolverSpec {
  std::string type = "SGD";
  float base_lr = 0.01f;
  std::string lr_policy = "fixed";
  float gamma = 0, power = 0;
  int32_t stepsize = 0;
  std::vector<int32_t> stepvalue;
  int32_t max_iter = 0;
  float momentum = 0, momentum2 = 0.999f, rms_decay = 0.99f, delta = 1e-8f;
  float weight_decay = 0;
  std::string regularization_type = "L2";
  float clip_gradients = -1;
  int32_t iter_size = 1;

  static auto fields() {
    return Fields(
        "solver", Field("type", &SolverSpec::type, "update rule"),
        Field("base_lr", &SolverSpec::base_lr, "learning rate at the start"),
        Field("lr_policy", &SolverSpec::lr_policy,
              "fixed, step, exp, inv, multistep, poly or sigmoid"),
        Field("gamma", &SolverSpec::gamma, "factor of step, exp, inv, multistep, sigmoid"),
        Field("power", &SolverSpec::power, "exponent of inv and poly"),
        Field("stepsize", &SolverSpec::stepsize, "iterations per step; middle of sigmoid"),
        Field("stepvalue", &SolverSpec::stepvalue, "iterations at which multistep steps"),
        Field("max_iter", &SolverSpec::max_iter, "iterations of the run; end of poly"),
        Field("momentum", &SolverSpec::momentum, "of the update history"),
        Field("momentum2", &SolverSpec::momentum2, "Adam: of the squared gradients"),
        Field("rms_decay", &SolverSpec::rms_decay, "RMSProp: of the squared gradients"),
        Field("delta", &SolverSpec::delta, "added where a division by zero could be"),
        Field("weight_decay", &SolverSpec::weight_decay, "strength of the regularisation"),
        Field("regularization_type", &SolverSpec::regularization_type, "L2 or L1"),
        Field("clip_gradients", &SolverSpec::clip_gradients, "greatest L2 norm; negative: none"),
        Field("iter_size", &SolverSpec::iter_size, "batches whose gradients make one update"));
  }
};

class Solver {
 public:
  // Throws pydl::Error for unknown types and policies and values out of range.
  Solver(SolverSpec spec, std::shared_ptr<Net> net);
  ~Solver();

  // One iteration: forward and backward iter_size times, then the update. Returns the mean loss.
  // Where the net lets gradients go (Net::gradients_can_go), and no sum over iter_size or norm
  // needs them all, each param is updated during the backward pass, to the same bits. Throws
  // pydl::Error, before the update, if the loss is NaN or infinite and stop_on_nan is set.
  double Step();
  // What Step does after the gradients are there.
  void ApplyUpdate();

  Net& net() { return *net_; }
  std::shared_ptr<Net> shared_net() { return net_; }
  const SolverSpec& spec() const { return spec_; }
  float lr() const;  // for the coming update
  float base_lr() const { return spec_.base_lr; }
  void set_base_lr(float base_lr) { spec_.base_lr = base_lr; }
  int iter() const { return iter_; }
  void set_iter(int iter) { iter_ = iter; }
  int current_step() const { return current_step_; }
  void set_current_step(int step) { current_step_ = step; }
  bool stop_on_nan = false;
  // Called in each Step: before the forward pass, and when all gradients are there, before the
  // update.
  std::vector<std::function<void()>> on_start, on_gradients_ready;

  // The update rule's memory of past gradients: arrays laid out as Net::weights().
  std::vector<float*> history();

  // Everything a run needs to go on as if it had not stopped, in one file that is replaced only
  // once the new one is complete. Both throw pydl::Error.
  void Snapshot(const std::string& path) const;
  void Restore(const std::string& path);

 private:
  void StepByParam(double* loss);
  void CheckLoss(double loss) const;
  void Update(int param, int64_t begin, int64_t count, float scale, float* gradient);
  float ClipFactor() const;

  SolverSpec spec_;
  std::shared_ptr<Net> net_;
  std::unique_ptr<class UpdateRule> rule_;
  std::unique_ptr<struct SolverHistory> history_;
  int iter_ = 0;
  mutable int current_step_ = 0;
};

}  // namespace pydl
