// RBM: a restricted Boltzmann machine, trained by contrastive divergence (Hinton 2002; Hinton 2010,
// "A practical guide to training restricted Boltzmann machines").
//
//   energy of binary units: -a v - b h - h W v; Gaussian units, of deviation 1, have (v - a)^2 / 2
//   instead of -a v, and so for h
//   p(h = 1 | v) = sigmoid(W v + b); the mean of Gaussian hidden units is W v + b
//   p(v = 1 | h) = sigmoid(h W + a); the mean of Gaussian visible units is h W + a
//
// The gradient of W is the mean over the batch of h v at the end of a chain of Gibbs sampling less
// that at the data, and so for a and b. The chain begins at the data (CD-k), or goes on where the
// last one ended (PCD, Tieleman 2008). At its end hidden units count as their means.

#include <algorithm>
#include <optional>

#include "core/check.h"
#include "core/random.h"
#include "kernels/activation.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "kernels/loss.h"
#include "kernels/scratch.h"
#include "kernels/stochastic.h"
#include "layers/float_state.h"
#include "layers/loss_params.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

enum class RbmUnits { kBinary = 0, kGaussian = 1 };
constexpr std::array<EnumName, 2> enum_names(RbmUnits) {
  return {{{"BINARY", 0}, {"GAUSSIAN", 1}}};
}

struct RbmParams {
  int32_t num_hidden = 0;
  RbmUnits visible = RbmUnits::kBinary, hidden = RbmUnits::kBinary;
  int32_t cd_steps = 1;
  bool persistent = false;
  std::optional<bool> sample_visible;
  float sparsity_target = 0.1f, sparsity_cost = 0, sparsity_decay = 0.9f;
  FillerParams weight_filler{.type = "gaussian", .std = 0.01f};
  FillerParams visible_bias_filler, hidden_bias_filler;

  static auto fields() {
    using P = RbmParams;
    return Fields(
        "rbm_param", Field("num_hidden", &P::num_hidden, "number of hidden units; required"),
        Field("visible", &P::visible, "BINARY: of values from 0 to 1; GAUSSIAN: of deviation 1"),
        Field("hidden", &P::hidden, "BINARY; GAUSSIAN: linear, with noise of deviation 1"),
        Field("cd_steps", &P::cd_steps, "steps of Gibbs sampling: k of CD-k and PCD-k"),
        Field("persistent", &P::persistent,
              "PCD: as many chains as the batch has items go on from iteration to iteration"),
        Field("sample_visible", &P::sample_visible,
              "draw visible units too, rather than take their means; default: if persistent"),
        Field("sparsity_target", &P::sparsity_target, "how often a hidden unit should be 1"),
        Field("sparsity_cost", &P::sparsity_cost,
              "strength of the pull towards sparsity_target (Hinton 2010, 11); 0: none"),
        Field("sparsity_decay", &P::sparsity_decay,
              "of the running mean of a unit's activity: what it keeps at an iteration"),
        Field("weight_filler", &P::weight_filler,
              "start values of the weights; default: gaussian, std 0.01"),
        Field("visible_bias_filler", &P::visible_bias_filler, "of the visible units' biases"),
        Field("hidden_bias_filler", &P::hidden_bias_filler, "of the hidden units' biases"));
  }
};

// bottom: v (N, ...), V values in each
// tops: the means of h (N, H); the reconstruction error, a scalar: squared, summed over the units,
//   averaged over the batch; the reconstruction, as v
// blobs: W (H, V), a (V), b (H)
//
// The second top's loss_weight makes the layer learn, and scales the gradient. No gradient goes
// below, and the first top's is passed over. In TEST, and where nothing is learned, nothing is
// drawn: the reconstruction is from the hidden means.
class Rbm final : public LayerOf<RbmParams> {
 public:
  Arity tops() const override { return {1, 3}; }
  bool can_propagate(int) const override { return false; }
  TopUse backward_reads_top() const override { return TopUse::kData; }

  std::vector<int64_t*> state() override {
    std::vector<int64_t*> out{&draws_, &started_, &averaged_};
    chain_.append_to(&out);
    activity_.append_to(&out);
    return out;
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const RbmParams& p = params_of();
    CheckParams();
    check(bottom[0]->axes() >= 1, "its bottom must be (N, ...), but is a scalar");
    hidden_ = p.num_hidden;
    visible_ = bottom[0]->count(1);
    AddParam({hidden_, visible_}, &p.weight_filler);
    AddParam({visible_}, &p.visible_bias_filler);
    AddParam({hidden_}, &p.hidden_bias_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& v = *bottom[0];
    check(v.axes() >= 1 && v.count(1) == visible_, "was set up for ", visible_,
          " visible units, but its bottom ", shape_text(v.shape()), " now has ",
          v.axes() >= 1 ? v.count(1) : 0);
    batch_ = v.shape(0);
    top[0]->Reshape({batch_, hidden_});
    if (top.size() > 1) top[1]->Reshape({});
    if (top.size() > 2) top[2]->ReshapeLike(v);
    if (phase() != Phase::kTrain) return;
    if (params_of().sparsity_cost > 0) activity_.resize(hidden_);
    if (!params_of().persistent || chain_.size() == batch_ * hidden_) return;
    chain_.resize(batch_ * hidden_);
    started_ = 0;
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const float* v = bottom[0]->data();
    float* h = top[0]->mutable_data();
    if (!learns(top)) {
      HiddenUnits(v, h, nullptr);
      if (top.size() < 2) return;
      const kernels::Scratch means(batch_ * visible_);
      VisibleUnits(h, means.data(), nullptr);
      return Reconstructed(v, means.data(), top);
    }
    const kernels::Scratch sample(batch_ * hidden_);
    HiddenUnits(v, h, sample.data());
    end_v_.Reshape({batch_, visible_});
    end_h_.Reshape({batch_, hidden_});
    params_of().persistent ? GoOn(v, sample.data(), top) : FromData(v, sample.data(), top);
    if (params_of().sparsity_cost > 0) AverageActivity(h);
  }

  void Backward(const Blobs& top, const Propagates&, const Blobs& bottom) override {
    if (!learns(top)) return;
    const float scale = static_cast<float>(top[1]->diff()[0] / mean_divisor(batch_));
    const float *v = bottom[0]->data(), *end_v = end_v_.data();
    const kernels::Scratch positive(batch_ * hidden_), negative(batch_ * hidden_);
    PositiveFactors(scale, top[0]->data(), positive.data());
    kernels::eltwise_kernels().scale(batch_ * hidden_, scale, end_h_.data(), negative.data());
    if (param_propagate(0)) {
      const Blob::Sum dw = params()[0]->accumulate_diff();
      AddProducts(positive.data(), v, dw.add ? 1 : 0, dw.data);
      AddProducts(negative.data(), end_v, 1, dw.data);
    }
    if (param_propagate(1)) {
      float* da = params()[1]->update_diff();
      AddColumnSums(-scale, v, visible_, da);
      AddColumnSums(scale, end_v, visible_, da);
    }
    if (param_propagate(2)) {
      float* db = params()[2]->update_diff();
      AddColumnSums(1, positive.data(), hidden_, db);
      AddColumnSums(1, negative.data(), hidden_, db);
    }
  }

  double flops(const Blobs&, const Blobs& top) const override {
    const double product = 2.0 * static_cast<double>(batch_) * static_cast<double>(hidden_) *
                           static_cast<double>(visible_);
    const int steps = learns_in(phase(), top) ? params_of().cd_steps : 0;
    return product * (1 + 2 * steps);
  }

 private:
  void CheckParams() const {
    const RbmParams& p = params_of();
    check(p.num_hidden > 0, "rbm_param.num_hidden must be given and positive",
          p.num_hidden ? ", got " + std::to_string(p.num_hidden) : "");
    check(p.cd_steps > 0, "cd_steps must be at least 1, got ", p.cd_steps);
    check(p.sparsity_target > 0 && p.sparsity_target < 1,
          "sparsity_target must be between 0 and 1, got ", p.sparsity_target);
    check(p.sparsity_cost >= 0, "sparsity_cost must not be negative, got ", p.sparsity_cost);
    check(p.sparsity_decay >= 0 && p.sparsity_decay < 1,
          "sparsity_decay must be at least 0 and below 1, got ", p.sparsity_decay);
    check(p.sparsity_cost == 0 || p.hidden == RbmUnits::kBinary,
          "sparsity_cost is for BINARY hidden units: GAUSSIAN ones have no probability to be 1");
  }

  bool learns_in(Phase phase, const Blobs& top) const {
    return phase == Phase::kTrain && needs_backward() && top.size() > 1;
  }
  bool learns(const Blobs& top) const {
    check(phase() != Phase::kTrain || !needs_backward() || top.size() > 1,
          "it learns from its second top, the reconstruction error, not from a gradient of the "
          "hidden units: give it one with loss_weight (loss_weight: 0 loss_weight: 1), or, to keep "
          "its blobs as they are, three param { lr_mult: 0 }");
    return learns_in(phase(), top);
  }
  bool draws_visible() const { return params_of().sample_visible.value_or(params_of().persistent); }

  // ---- units ----

  // means (N, H) from v (N, V), and a sample unless that is null.
  void HiddenUnits(const float* v, float* means, float* sample) {
    kernels::GemmShape shape{batch_, hidden_, visible_};
    shape.trans_b = true;
    kernels::gemm_kernels().gemm(shape, v, params()[0]->data(), {params()[2]->data()}, means);
    Units(params_of().hidden, batch_ * hidden_, means, sample);
  }

  // means (N, V) from h (N, H), and a sample unless that is null.
  void VisibleUnits(const float* h, float* means, float* sample) {
    const kernels::GemmShape shape{batch_, visible_, hidden_};
    kernels::gemm_kernels().gemm(shape, h, params()[0]->data(), {params()[1]->data()}, means);
    Units(params_of().visible, batch_ * visible_, means, sample);
  }

  // From the units' inputs, in `means`.
  void Units(RbmUnits kind, int64_t n, float* means, float* sample) {
    const uint64_t stream = stream_of(name()) + static_cast<uint64_t>(sample ? ++draws_ : 0);
    const auto& units = kernels::stochastic_kernels();
    if (kind == RbmUnits::kGaussian) {
      if (sample) units.add_gaussian(n, means, 1, context().seed, stream, sample);
    } else if (sample) {
      units.sigmoid_bernoulli(n, means, context().seed, stream, means, sample);
    } else {
      kernels::activation_kernels().sigmoid_forward(n, means, means);
    }
  }

  // ---- chains ----

  // CD: k steps from a sample of the hidden units, given the data.
  void FromData(const float* v, float* sample, const Blobs& top) {
    const int steps = params_of().cd_steps;
    for (int step = 0; step < steps; ++step) {
      GibbsStep(sample, step + 1 < steps ? sample : nullptr, [&](const float* means) {
        if (step == 0) Reconstructed(v, means, top);
      });
    }
  }

  // PCD: k steps from where the chains are; at first from a sample, given the data.
  void GoOn(const float* v, float* sample, const Blobs& top) {
    {
      const kernels::Scratch means(batch_ * visible_);
      VisibleUnits(sample, means.data(), nullptr);
      Reconstructed(v, means.data(), top);
    }
    if (started_) chain_.read(sample);
    for (int step = 0; step < params_of().cd_steps; ++step) {
      GibbsStep(sample, sample, [](const float*) {});
    }
    chain_.write(sample);
    started_ = 1;
  }

  // From hidden units h to end_v_ and from there to the means end_h_, and a sample of them unless
  // `next` is null. look(means) sees the visible units' means.
  template <class Look>
  void GibbsStep(const float* h, float* next, const Look& look) {
    float* v = end_v_.mutable_data();
    if (draws_visible()) {
      const kernels::Scratch means(batch_ * visible_);
      VisibleUnits(h, means.data(), v);
      look(means.data());
    } else {
      VisibleUnits(h, v, nullptr);
      look(v);
    }
    HiddenUnits(v, end_h_.mutable_data(), next);
  }

  void Reconstructed(const float* v, const float* means, const Blobs& top) const {
    double error = 0;
    kernels::loss_kernels().squared_distances(1, batch_ * visible_, v, means, &error);
    top[1]->mutable_data()[0] = static_cast<float>(error / mean_divisor(batch_));
    if (top.size() > 2) std::copy_n(means, batch_ * visible_, top[2]->mutable_data());
  }

  void AverageActivity(const float* h) {
    const kernels::Scratch sums(hidden_), running(hidden_);
    std::fill_n(sums.data(), hidden_, 0.0f);
    kernels::column_sums_kernels().add(batch_, hidden_, h, sums.data());
    activity_.read(running.data());
    const float keep = averaged_ ? params_of().sparsity_decay : 0;
    const auto share = static_cast<float>((1 - keep) / mean_divisor(batch_));
    kernels::eltwise_kernels().axpby(hidden_, share, sums.data(), keep, running.data());
    activity_.write(running.data());
    averaged_ = 1;
  }

  // ---- gradients ----

  // out (N, H) = scale (cost (activity - target) - h): the derivative of the cross entropy of a
  // unit's activity and its target, with respect to the unit's input, is activity - target.
  void PositiveFactors(float scale, const float* h, float* out) const {
    const RbmParams& p = params_of();
    const int64_t n = batch_ * hidden_;
    if (p.sparsity_cost == 0) return kernels::eltwise_kernels().scale(n, -scale, h, out);
    const kernels::Scratch pull(hidden_), factor(hidden_);
    activity_.read(pull.data());
    for (int64_t j = 0; j < hidden_; ++j) {
      pull.data()[j] = scale * p.sparsity_cost * (pull.data()[j] - p.sparsity_target);
    }
    std::fill_n(factor.data(), hidden_, -scale);
    kernels::eltwise_kernels().affine_forward(batch_, hidden_, 1, h, factor.data(), pull.data(),
                                              out);
  }

  // dw (H, V) = h^T v + beta dw
  void AddProducts(const float* h, const float* v, float beta, float* dw) const {
    kernels::GemmShape shape{hidden_, visible_, batch_};
    shape.trans_a = true;
    shape.beta = beta;
    kernels::gemm_kernels().gemm(shape, h, v, {}, dw);
  }

  // sums += factor times the sums of the columns of x (N, columns)
  void AddColumnSums(float factor, const float* x, int64_t columns, float* sums) const {
    const kernels::Scratch of_x(columns);
    std::fill_n(of_x.data(), columns, 0.0f);
    kernels::column_sums_kernels().add(batch_, columns, x, of_x.data());
    kernels::eltwise_kernels().axpby(columns, factor, of_x.data(), 1, sums);
  }

  int64_t batch_ = 0, visible_ = 0, hidden_ = 0;  // N, V, H
  Blob end_v_, end_h_;                            // of the chain: visible units, hidden means
  int64_t draws_ = 0;                             // arrays of units drawn so far
  int64_t started_ = 0, averaged_ = 0;            // chain_ and activity_ hold something
  FloatState chain_;                              // PCD: hidden units (N, H)
  FloatState activity_;                           // running means of the hidden units (H)
};

PYDL_REGISTER_LAYER("RBM", Rbm,
                    "Restricted Boltzmann machine, trained by (persistent) contrastive divergence: "
                    "hidden means, then the reconstruction error, whose loss_weight makes it "
                    "learn, and the reconstruction. Passes no gradient below.");

}  // namespace pydl
