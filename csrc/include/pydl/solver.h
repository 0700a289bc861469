// Training: learning-rate policies, the update, and what a run needs to go on after a stop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pydl/net.h"

namespace pydl {

// Which scores are better: losses are to be small, accuracies large.
enum class MonitorMode { kMin = 0, kMax = 1 };
constexpr std::array<EnumName, 2> enum_names(MonitorMode) { return {{{"MIN", 0}, {"MAX", 1}}}; }

// The part of Caffe's SolverParameter that decides the numbers, and pydl's additions to it; files,
// tests and display are the caller's. docs/solvers.md has the formulas.
struct SolverSpec {
  std::string type = "SGD";
  float base_lr = 0.01f;
  std::string lr_policy = "fixed";
  std::optional<float> gamma;
  float power = 0;
  int32_t stepsize = 0;
  std::vector<int32_t> stepvalue;
  int32_t max_iter = 0;
  float momentum = 0, momentum2 = 0.999f, rms_decay = 0.99f, delta = 1e-8f;
  float weight_decay = 0;
  std::string regularization_type = "L2";
  std::optional<float> l1_ratio;  // not in Caffe, as is clip_value
  float clip_gradients = -1, clip_value = -1;
  int32_t iter_size = 1;
  // Not in Caffe.
  int32_t warmup_iters = 0;
  std::optional<float> warmup_start_lr, min_lr, min_improvement;
  std::optional<int32_t> plateau_patience;
  int32_t early_stop_patience = 0;
  MonitorMode monitor_mode = MonitorMode::kMin;
  bool decay_vectors = true;
  float ema_decay = 0;
  // Of Caffe's forks.
  int32_t rampup_interval = 0;  // rises to base_lr, where warmup_iters rises to the policy's rate
  std::optional<float> rampup_lr;
  std::vector<int32_t> plateau_winsize;
  int32_t average_loss = 1;
  std::vector<int32_t> stageiter;
  std::vector<float> stagelr;
  std::string momentum_policy = "fixed";
  std::optional<float> max_momentum;
  float momentum_power = 1;
  bool larc = false, local_lr_auto = false;
  std::string larc_policy = "scale";
  float larc_eta = 0.001f, local_gw_ratio = 0.001f;

  static auto fields() {
    using S = SolverSpec;
    return Fields(
        "solver",
        Field("type", &S::type, "SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam or AdamW"),
        Field("base_lr", &S::base_lr, "learning rate at the start"),
        Field("lr_policy", &S::lr_policy,
              "fixed, step, exp, inv, multistep, poly, sigmoid, cosine, plateau or multifixed"),
        Field("gamma", &S::gamma, "factor of step, exp, inv, multistep, sigmoid, plateau"),
        Field("power", &S::power, "exponent of inv and poly"),
        Field("stepsize", &S::stepsize, "iterations per step; middle of sigmoid"),
        Field("stepvalue", &S::stepvalue, "iterations at which multistep steps"),
        Field("max_iter", &S::max_iter, "iterations of the run; end of poly and cosine"),
        Field("momentum", &S::momentum, "of the update history; beta1 of Adam"),
        Field("momentum2", &S::momentum2, "Adam: of the squared gradients"),
        Field("rms_decay", &S::rms_decay, "RMSProp: of the squared gradients"),
        Field("delta", &S::delta, "added where a division by zero could be"),
        Field("weight_decay", &S::weight_decay, "strength of the regularisation"),
        Field("regularization_type", &S::regularization_type, "L2, L1 or ElasticNet"),
        Field("l1_ratio", &S::l1_ratio, "ElasticNet: the share of L1, 0 to 1"),
        Field("clip_gradients", &S::clip_gradients, "greatest L2 norm; negative: none"),
        Field("clip_value", &S::clip_value, "greatest size of a gradient's value; negative: any"),
        Field("iter_size", &S::iter_size, "batches whose gradients make one update"),
        Field("warmup_iters", &S::warmup_iters, "iterations in which the rate rises"),
        Field("warmup_start_lr", &S::warmup_start_lr, "rate at the start of the warm-up"),
        Field("min_lr", &S::min_lr, "least rate of cosine, plateau and poly"),
        Field("min_improvement", &S::min_improvement, "by how much, relatively, a score is better"),
        Field("plateau_patience", &S::plateau_patience, "scores without a better one to a step"),
        Field("early_stop_patience", &S::early_stop_patience, "... and to the end; 0: never"),
        Field("monitor_mode", &S::monitor_mode, "MIN or MAX: which scores are better"),
        Field("decay_vectors", &S::decay_vectors, "weight decay on params of one axis as well"),
        Field("ema_decay", &S::ema_decay, "of the average of the weights; 0: none"),
        Field("rampup_interval", &S::rampup_interval, "iterations in which it rises to base_lr"),
        Field("rampup_lr", &S::rampup_lr, "rate at the start of that"),
        Field("plateau_winsize", &S::plateau_winsize,
              "plateau by the training loss: iterations without a smaller one to each step"),
        Field("average_loss", &S::average_loss, "iterations that that loss is the mean of"),
        Field("stageiter", &S::stageiter, "last iteration of each stage of multifixed"),
        Field("stagelr", &S::stagelr, "rate of each stage"),
        Field("momentum_policy", &S::momentum_policy, "fixed, poly or opt"),
        Field("max_momentum", &S::max_momentum, "of poly, at the end; most of opt"),
        Field("momentum_power", &S::momentum_power, "exponent of poly"),
        Field("larc", &S::larc, "rates by the norms of each parameter and its gradient"),
        Field("larc_policy", &S::larc_policy, "scale: times the rate; clip: the rate at most"),
        Field("larc_eta", &S::larc_eta, "share of a parameter's norm that a step may change"),
        Field("local_lr_auto", &S::local_lr_auto, "larc, with the decay counted in"),
        Field("local_gw_ratio", &S::local_gw_ratio, "its larc_eta"));
  }
};

// What a solver has seen of the scores it was told.
struct ScoreWatch {
  std::optional<double> best;
  int32_t since_best = 0, since_drop = 0;  // scores since the best, and since the rate was lowered
  // With plateau_winsize, of the training loss.
  std::vector<float> losses;  // the last ones, which are averaged
  std::optional<double> least_loss;
  int32_t last_event = 0;  // the iteration of that, or in which the rate was lowered since

  static auto fields() {
    using W = ScoreWatch;
    return Fields("watch", Field("best", &W::best, "the best score"),
                  Field("since_best", &W::since_best, "scores since then"),
                  Field("since_drop", &W::since_drop, "... or since the rate was lowered"),
                  Field("losses", &W::losses, "the last training losses"),
                  Field("least_loss", &W::least_loss, "the least mean of them"),
                  Field("last_event", &W::last_event, "its iteration, or the last drop's"));
  }
};

class Solver {
 public:
  // Throws pydl::Error for unknown types and policies, values out of range and fields that do not
  // go together.
  Solver(SolverSpec spec, std::shared_ptr<Net> net);
  ~Solver();

  // One iteration: forward and backward iter_size times, then the update. Returns the mean loss.
  // Params with noise have it in these passes, and are as they were in the update.
  // Where the net lets gradients go (Net::gradients_can_go), and no sum over iter_size or norm
  // needs them all, each param is updated during the backward pass, to the same bits. Throws
  // pydl::Error, before the update, if the loss is NaN or infinite and stop_on_nan is set.
  double Step();
  // What Step does after the gradients are there.
  void ApplyUpdate();

  Net& net() { return *net_; }
  std::shared_ptr<Net> shared_net() { return net_; }
  const SolverSpec& spec() const { return spec_; }
  float lr() const;        // for the coming update
  float momentum() const;  // likewise
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
  // Where it is set, Step tells it Caffe's debug_info, line by line.
  std::function<void(const std::string& line)> debug;

  // A score of the run, such as a test loss, to be told at regular intervals: it lowers the rate of
  // lr_policy "plateau" and decides about early stopping. NaN is never better.
  void Observe(double score);
  // early_stop_patience scores in a row were no better.
  bool should_stop() const;
  const ScoreWatch& watch() const { return watch_; }
  void set_watch(const ScoreWatch& watch) { watch_ = watch; }

  // The update rule's memory of past gradients: arrays laid out as Net::weights().
  std::vector<float*> history();

  // With ema_decay: after update t the average is d average + (1 - d) weights, where
  // d = min(ema_decay, (1 + t) / (10 + t)), so that it soon forgets the start. Of params with
  // lr_mult 0 (BatchNorm's statistics, say) it has the values as they are.
  bool has_average() const;  // there was an update, or SetAverage
  void SwapAverage();        // exchanges weights and average, where there is one
  void SetAverage();         // the weights as they are now
  void ForgetAverage();      // it begins anew with the next update

  // Everything a run needs to go on as if it had not stopped, in one file that is replaced only
  // once the new one is complete. Both throw pydl::Error.
  void Snapshot(const std::string& path) const;
  void Restore(const std::string& path);

 private:
  void StepByParam(double* loss);
  void StepAtOnce(double* loss);
  void CheckLoss(double loss) const;
  void Update(int param, int64_t begin, int64_t count, float scale, float* gradient);
  void ObserveLoss(double loss);
  bool needs_whole_gradients() const;
  bool touches_whole_params() const;
  void LimitNorms(const NetParam& param);
  float Rate(const NetParam& param, float scale, const float* gradient) const;
  void BeginAverage();
  float ClipFactor() const;
  float weight_decay(const NetParam& param) const;

  SolverSpec spec_;
  std::shared_ptr<Net> net_;
  std::unique_ptr<class UpdateRule> rule_;
  std::unique_ptr<struct SolverHistory> history_;
  ScoreWatch watch_;
  int iter_ = 0;
  mutable int current_step_ = 0;
};

}  // namespace pydl
