// GaussianSampling: z = mean + exp(log_variance / 2) g with g from the standard normal, through
// which gradients reach mean and variance (Kingma & Welling 2014, arXiv:1312.6114).

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/eltwise.h"
#include "kernels/stochastic.h"
#include "layers/gaussian_bottoms.h"
#include "pydl/layer.h"

namespace pydl {

struct GaussianSamplingParams {
  bool sample_in_test = false;

  static auto fields() {
    return Fields("gaussian_sampling_param",
                  Field("sample_in_test", &GaussianSamplingParams::sample_in_test,
                        "draw in TEST too; else the top is the mean there"));
  }
};

// bottoms: mean and log of the variance, of one shape   top: the sample, of that shape
class GaussianSampling final : public LayerOf<GaussianSamplingParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    check_gaussian_bottoms(bottom);
    top[0]->ReshapeLike(*bottom[0]);
    if (samples()) slope_.ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const int64_t n = bottom[0]->count();
    const float* mean = bottom[0]->data();
    float* z = top[0]->mutable_data();
    if (!samples()) {
      std::copy_n(mean, n, z);
      return;
    }
    ++draws_;
    const uint64_t stream = stream_of(name()) + static_cast<uint64_t>(draws_);
    kernels::stochastic_kernels().gaussian_sample(n, mean, bottom[1]->data(), context().seed,
                                                  stream, slope_.mutable_data(), z);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const int64_t n = bottom[0]->count();
    const float* dz = top[0]->diff();
    if (down[0] != Propagate::kNo) {
      kernels::eltwise_kernels().scale(n, 1, dz, bottom[0]->mutable_diff());
    }
    if (down[1] == Propagate::kNo) return;
    float* d = bottom[1]->mutable_diff();
    if (samples()) {
      kernels::eltwise_kernels().mul(n, dz, slope_.data(), d);
    } else {
      std::fill_n(d, n, 0.0f);
    }
  }

 private:
  bool samples() const { return phase() == Phase::kTrain || params_of().sample_in_test; }

  int64_t draws_ = 0;  // samples drawn so far
  Blob slope_;         // dz/dlog_variance of the last one
};

PYDL_REGISTER_LAYER("GaussianSampling", GaussianSampling,
                    "A sample of normal distributions whose means and log variances are the "
                    "bottoms, by the reparameterisation trick. In TEST the means.");

}  // namespace pydl
