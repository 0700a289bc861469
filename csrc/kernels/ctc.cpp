// The forward-backward algorithm over the labels with a blank before, between and behind them. It
// is done on probabilities, each step divided by its largest, which needs no elementary functions
// in its inner loops; where that loses what counts to the range of a double, on logarithms.
#include "kernels/ctc.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/parallel.h"

namespace pydl::kernels {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A probability by its logarithm, with what the algorithm does to probabilities.
struct LogProbability {
  double log = -kInfinity;

  friend LogProbability operator+(LogProbability a, LogProbability b) {
    if (a.log < b.log) std::swap(a, b);
    return b.log == -kInfinity ? a : LogProbability{a.log + std::log1p(std::exp(b.log - a.log))};
  }
  friend LogProbability operator*(LogProbability a, LogProbability b) { return {a.log + b.log}; }
  friend LogProbability operator/(LogProbability a, LogProbability b) { return {a.log - b.log}; }
  friend bool operator<(LogProbability a, LogProbability b) { return a.log < b.log; }
};

double log_of(double p) { return std::log(p); }
double log_of(LogProbability p) { return p.log; }
double value_of(double p) { return p; }
double value_of(LogProbability p) { return std::exp(p.log); }
void set_log(double log, double* p) { *p = std::exp(log); }
void set_log(double log, LogProbability* p) { p->log = log; }

// Less than this share of the largest, at some step, and what a double dropped might count.
constexpr double kLeastShare = 1e-250;

float largest(const float* x, int64_t n) {
  constexpr int64_t kLanes = 16;  // side by side, so that the compiler takes vectors
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) lanes[k] = x[i + k] > lanes[k] ? x[i + k] : lanes[k];
  }
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  return *std::max_element(lanes, lanes + kLanes);
}

// One sequence of a batch.
class Paths {
 public:
  // `stride` floats from a step to the next.
  Paths(const CtcShape& shape, const CtcSequence& sequence, int64_t stride, const float* x,
        const float* p)
      : steps_(sequence.steps), states_(2 * static_cast<int64_t>(sequence.labels.size()) + 1) {
    symbol_.assign(states_, shape.blank);
    skips_.assign(states_, false);
    for (int64_t s = 1; s < states_; s += 2) {
      symbol_[s] = sequence.labels[s / 2];
      skips_[s] = s >= 3 && symbol_[s] != symbol_[s - 2];
    }
    log_p_.resize(steps_ * states_);
    for (int64_t t = 0; t < steps_; ++t) {
      const float *scores = x + t * stride, *softmax = p + t * stride;
      const double log_sum = largest(scores, shape.classes) -
                             std::log(static_cast<double>(largest(softmax, shape.classes)));
      for (int64_t s = 0; s < states_; ++s) {
        log_p_[t * states_ + s] = scores[symbol_[s]] - log_sum;
      }
    }
  }

  // -log P. `share` (steps, states): of the state s in all paths at step t.
  double Cost(double* share) const {
    double least = 1;
    const double cost = CostBy<double>(share, &least);
    return least >= kLeastShare ? cost : CostBy<LogProbability>(share, &least);  // NaN: the same
  }

  int64_t states() const { return states_; }
  int32_t symbol(int64_t state) const { return symbol_[state]; }

 private:
  // *least: the smallest, over the steps, of sum over s of alpha beta, both divided by their
  // largest.
  template <class P>
  double CostBy(double* share, double* least) const {
    const int64_t size = steps_ * states_;
    std::vector<P> p(size), alpha(size), beta(states_), after(states_);
    for (int64_t t = 0; t < steps_; ++t) {
      P* now = p.data() + t * states_;
      set_log(log_p_[t * states_], &now[0]);  // every second state is the same blank
      for (int64_t s = 1; s < states_; s += 2) {
        set_log(log_p_[t * states_ + s], &now[s]);
        now[s + 1] = now[0];
      }
    }
    const double log_scale = Forward(p.data(), alpha.data());
    const P* last = alpha.data() + (steps_ - 1) * states_;
    const P end = states_ > 1 ? last[states_ - 1] + last[states_ - 2] : last[0];
    for (int64_t s = std::max<int64_t>(states_ - 2, 0); s < states_; ++s) set_log(0, &beta[s]);
    for (int64_t t = steps_ - 1; t >= 0; --t) {
      P sum{}, largest{};
      if (t < steps_ - 1) Back(p.data() + (t + 1) * states_, &beta, &after);
      for (const P& b : beta) largest = std::max(largest, b);
      for (int64_t s = 0; s < states_; ++s) {
        beta[s] = beta[s] / largest;
        after[s] = alpha[t * states_ + s] * beta[s];
        sum = sum + after[s];
      }
      for (int64_t s = 0; s < states_; ++s) share[t * states_ + s] = value_of(after[s] / sum);
      const double z = value_of(sum);
      if (!(z >= *least)) *least = z;
    }
    return -(log_scale + log_of(end));
  }

  // alpha (steps, states), each step divided by its largest; the sum of the logarithms of those.
  template <class P>
  double Forward(const P* p, P* alpha) const {
    double log_scale = 0;
    std::copy_n(p, std::min<int64_t>(states_, 2), alpha);
    for (int64_t t = 0; t < steps_; ++t) {
      P* now = alpha + t * states_;
      if (t > 0) {
        const P* before = now - states_;
        for (int64_t s = 0; s < states_; ++s) {
          P sum = before[s];
          if (s >= 1) sum = sum + before[s - 1];
          if (skips_[s]) sum = sum + before[s - 2];
          now[s] = p[t * states_ + s] * sum;
        }
      }
      const P largest = *std::max_element(now, now + states_);
      for (int64_t s = 0; s < states_; ++s) now[s] = now[s] / largest;
      log_scale += log_of(largest);
    }
    return log_scale;
  }

  // beta of a step from that of the next one, whose probabilities are p.
  template <class P>
  void Back(const P* p, std::vector<P>* beta, std::vector<P>* next) const {
    for (int64_t s = 0; s < states_; ++s) (*next)[s] = p[s] * (*beta)[s];
    for (int64_t s = 0; s < states_; ++s) {
      P sum = (*next)[s];
      if (s + 1 < states_) sum = sum + (*next)[s + 1];
      if (s + 2 < states_ && skips_[s + 2]) sum = sum + (*next)[s + 2];
      (*beta)[s] = sum;
    }
  }

  int64_t steps_, states_;
  std::vector<int32_t> symbol_;
  std::vector<uint8_t> skips_;  // a path may come to the state from the one before the last
  std::vector<double> log_p_;   // (steps, states)
};

}  // namespace

int64_t ctc_least_steps(const CtcSequence& sequence) {
  const std::vector<int32_t>& labels = sequence.labels;
  auto least = static_cast<int64_t>(labels.size());
  for (size_t i = 1; i < labels.size(); ++i) least += labels[i] == labels[i - 1];
  return least;
}

void ctc(const CtcShape& shape, const std::vector<CtcSequence>& sequences, const float* x,
         bool gradient, float* p, double* cost) {
  const int64_t stride = shape.batch * shape.classes;
  parallel_for(shape.batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> share;
    for (int64_t n = begin; n < end; ++n) {
      const CtcSequence& sequence = sequences[n];
      float* softmax = p + n * shape.classes;
      const bool fits = sequence.steps > 0 && ctc_least_steps(sequence) <= sequence.steps;
      cost[n] = 0;
      if (fits) {
        const Paths paths(shape, sequence, stride, x + n * shape.classes, softmax);
        share.resize(sequence.steps * paths.states());
        cost[n] = paths.Cost(share.data());
        for (int64_t t = 0; gradient && t < sequence.steps; ++t) {
          for (int64_t s = 0; s < paths.states(); ++s) {
            softmax[t * stride + paths.symbol(s)] -=
                static_cast<float>(share[t * paths.states() + s]);
          }
        }
      }
      for (int64_t t = fits ? sequence.steps : 0; gradient && t < shape.steps; ++t) {
        std::fill_n(softmax + t * stride, shape.classes, 0.0f);
      }
    }
  });
}

}  // namespace pydl::kernels
