// SparsityPenalty: pulls the mean activity of each unit towards a small target, by the divergence
// of the one from the other (a sparse autoencoder: Lee et al. 2008; Ng 2011).

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/scratch.h"
#include "layers/loss_params.h"
#include "pydl/layer.h"

namespace pydl {

struct SparsityPenaltyParams {
  float target = 0.05f, weight = 1;

  static auto fields() {
    using P = SparsityPenaltyParams;
    return Fields("sparsity_penalty_param",
                  Field("target", &P::target, "the mean activity that a unit should have"),
                  Field("weight", &P::weight, "of the penalty; loss_weight is another factor"));
  }
};

// bottom: activations from 0 to 1 (N, ...), each position after N a unit
// top: weight times the sum over the units of t log(t / q) + (1 - t) log((1 - t) / (1 - q)), with
//   t the target and q the unit's mean over the batch, no nearer to 0 and 1 than kLeast
class SparsityPenalty final : public LayerOf<SparsityPenaltyParams> {
 public:
  bool backward_reads_bottom(int) const override { return false; }
  bool is_loss() const override { return true; }

  void SetUp(const Blobs&, const Blobs&) override {
    const SparsityPenaltyParams& p = params_of();
    check(p.target > 0 && p.target < 1, "target must be between 0 and 1, got ", p.target);
    check(p.weight >= 0, "weight must not be negative, got ", p.weight);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check(bottom[0]->axes() >= 1, "its bottom must be (N, ...), but is a scalar");
    means_.Reshape({bottom[0]->count(1)});
    top[0]->Reshape({});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    FindMeans(*bottom[0]);
    const double t = params_of().target;
    double sum = 0;
    const float* means = means_.data();
    for (int64_t j = 0; j < means_.count(); ++j) {
      const double q = limited(means[j]);
      sum += t * std::log(t / q) + (1 - t) * std::log((1 - t) / (1 - q));
    }
    top[0]->mutable_data()[0] = static_cast<float>(params_of().weight * sum);
  }

  // Each item of a unit gets the same share of the gradient of its mean, (1 - t) / (1 - q) - t / q.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const int64_t batch = bottom[0]->shape(0), units = means_.count();
    const double t = params_of().target;
    const double scale = top[0]->diff()[0] * params_of().weight / mean_divisor(batch);
    const kernels::Scratch slopes(units);
    const float* means = means_.data();
    for (int64_t j = 0; j < units; ++j) {
      const double q = limited(means[j]);
      slopes.data()[j] = static_cast<float>(scale * ((1 - t) / (1 - q) - t / q));
    }
    kernels::eltwise_kernels().copy_rows(batch, units, slopes.data(), 0, bottom[0]->mutable_diff(),
                                         units);
  }

 private:
  static constexpr double kLeast = 1e-6;
  static double limited(double q) { return std::clamp(q, kLeast, 1 - kLeast); }

  void FindMeans(const Blob& x) {
    const int64_t batch = x.shape(0), units = means_.count();
    float* means = means_.mutable_data();
    std::fill_n(means, units, 0.0f);
    kernels::column_sums_kernels().add(batch, units, x.data(), means);
    const auto share = static_cast<float>(1 / mean_divisor(batch));
    kernels::eltwise_kernels().scale(units, share, means, means);
    constexpr float kRounding = 1e-4f;
    const float* odd = std::find_if(means, means + units,
                                    [](float q) { return q < -kRounding || q > 1 + kRounding; });
    check(odd == means + units, "takes activations from 0 to 1, but those of unit ", odd - means,
          " have the mean ", odd == means + units ? 0 : *odd, "; put it behind a Sigmoid");
  }

  Blob means_;  // of each unit, over the batch
};

PYDL_REGISTER_LAYER("SparsityPenalty", SparsityPenalty,
                    "Kullback-Leibler divergence of each unit's mean activity over the batch from "
                    "a small target, summed: the penalty of a sparse autoencoder.");

}  // namespace pydl
