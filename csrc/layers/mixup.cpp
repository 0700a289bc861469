// Mixup: each record with a share of another one of its batch, and their labels in the same shares
// (Zhang et al. 2018, arXiv:1710.09412). Behind other layers it is manifold mixup (Verma et al.
// 2019, arXiv:1806.05236). In TEST the identity.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"
#include "core/pass_order.h"
#include "core/random.h"
#include "kernels/eltwise.h"
#include "layers/labels.h"
#include "pydl/layer.h"

namespace pydl {

struct MixupParams {
  float alpha = 0.2f;
  uint32_t num_classes = 0;

  static auto fields() {
    using P = MixupParams;
    return Fields(
        "mixup_param",
        Field("alpha", &P::alpha,
              "the shares of a batch are drawn from Beta(alpha, alpha); 0: no mixing"),
        Field("num_classes", &P::num_classes, "classes of integer labels; required for these"));
  }
};

namespace {

// The logarithm of a draw from Gamma(alpha, 1), for which small alphas leave no float of its own
// (Marsaglia & Tsang 2000, "A simple method for generating gamma variables").
double log_gamma_draw(double alpha, Random* random) {
  const double d = alpha + 1 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random->gaussian(), v = std::pow(1 + c * x, 3);
    const double u = 1 - random->uniform(), w = 1 - static_cast<double>(random->uniform());
    if (v > 0 && std::log(u) < x * x / 2 + d - d * v + d * std::log(v)) {
      return std::log(d * v) + std::log(w) / alpha;  // from alpha + 1 to alpha
    }
  }
}

float beta_draw(double alpha, Random* random) {
  const double a = log_gamma_draw(alpha, random), b = log_gamma_draw(alpha, random);
  return static_cast<float>(1 / (1 + std::exp(b - a)));
}

}  // namespace

// bottoms: data (N, ...), labels: classes (N), or probabilities (N, K)
// tops: mixed data (N, ...), the probabilities of the classes (N, K)
class Mixup final : public LayerOf<MixupParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&batches_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const MixupParams& p = params_of();
    check(p.alpha >= 0 && p.alpha <= kMostAlpha, "mixup_param.alpha must be from 0 to ", kMostAlpha,
          ", got ", p.alpha);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob &x = *bottom[0], &labels = *bottom[1];
    check(x.axes() >= 1, "needs data with a batch axis, got a scalar");
    const int64_t n = x.shape(0), given = params_of().num_classes;
    is_soft_ = labels.count() != n;
    if (is_soft_) {
      check(labels.axes() == 2 && labels.shape(0) == n, "needs a label for each of the ", n,
            " records, or their classes' probabilities (", n, " x classes), but the labels are ",
            shape_text(labels.shape()));
      check(given == 0 || given == labels.shape(1), "num_classes is ", given,
            ", but its labels are probabilities of ", labels.shape(1), " classes");
    } else {
      check(given > 0, "mixup_param.num_classes must be given for integer labels");
    }
    classes_ = is_soft_ ? labels.shape(1) : given;
    top[0]->ReshapeLike(x);
    top[1]->Reshape({n, classes_});
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const Blob& labels = *bottom[1];
    const int64_t n = bottom[0]->shape(0);
    Draw(n);
    Mix(bottom[0]->data(), partner_, bottom[0]->count(1), top[0]->mutable_data());
    if (is_soft_) {
      check_probabilities(labels);
      return Mix(labels.data(), partner_, classes_, top[1]->mutable_data());
    }
    check_labels(labels, classes_, std::nullopt);
    float* y = top[1]->mutable_data();
    std::fill_n(y, n * classes_, 0.0f);
    for (int64_t i = 0; i < n; ++i) {
      const auto label_of = [&](int64_t k) { return static_cast<int64_t>(labels.data()[k]); };
      y[i * classes_ + label_of(i)] += share_;
      y[i * classes_ + label_of(partner_[i])] += 1 - share_;
    }
  }

  // A record passes its gradient on to itself and to the one it was mixed with.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    std::vector<int64_t> user(partner_.size());  // who was mixed with each
    for (size_t i = 0; i < partner_.size(); ++i) user[partner_[i]] = static_cast<int64_t>(i);
    Mix(top[0]->diff(), user, bottom[0]->count(1), bottom[0]->mutable_diff());
  }

 private:
  static constexpr float kMostAlpha = 1000;

  // One share and one order for a batch, as in the paper; a function of the seed and the batch's
  // number.
  void Draw(int64_t n) {
    const double alpha = params_of().alpha;
    const bool mixes = phase() == Phase::kTrain && alpha > 0;
    partner_.resize(n);
    std::iota(partner_.begin(), partner_.end(), 0);
    share_ = 1;
    if (!mixes) return;
    const PhiloxBlock key =
        philox(context().seed, stream_of(name()), static_cast<uint64_t>(batches_++));
    const uint64_t seed = uint64_t{key[0]} << 32 | key[1];
    const uint64_t stream = uint64_t{key[2]} << 32 | key[3];
    Random random(seed, stream);
    share_ = beta_draw(alpha, &random);
    partner_ = permutation(n, seed, stream + 1);
  }

  // y = share x + (1 - share) (x of the partner), in rows of `size`.
  void Mix(const float* x, const std::vector<int64_t>& partner, int64_t size, float* y) const {
    const auto& eltwise = kernels::eltwise_kernels();
    for (int64_t i = 0; i < static_cast<int64_t>(partner.size()); ++i) {
      eltwise.scale(size, share_, x + i * size, y + i * size);
      if (share_ != 1) eltwise.axpby(size, 1 - share_, x + partner[i] * size, 1, y + i * size);
    }
  }

  bool is_soft_ = false;
  int64_t classes_ = 0, batches_ = 0;
  float share_ = 1;
  std::vector<int64_t> partner_;  // whom each record of the batch is mixed with
};

PYDL_REGISTER_LAYER("Mixup", Mixup,
                    "In TRAIN each record is mixed with another one of its batch, and their labels "
                    "are in the same shares (mixup); its second top is the probabilities of the "
                    "classes, for SoftmaxWithLoss. In TEST records and labels as they are.");

}  // namespace pydl
