// Noise on inputs or hidden units, in TRAIN: what a denoising autoencoder has to undo (Vincent et
// al. 2010). In TEST the identity.

#include "core/check.h"
#include "core/random.h"
#include "kernels/eltwise.h"
#include "kernels/stochastic.h"
#include "pydl/layer.h"

namespace pydl {

enum class UnitNoiseType { kGaussian = 0, kMasking = 1, kSaltAndPepper = 2 };
constexpr std::array<EnumName, 3> enum_names(UnitNoiseType) {
  return {{{"GAUSSIAN", 0}, {"MASKING", 1}, {"SALT_AND_PEPPER", 2}}};
}

struct UnitNoiseParams {
  UnitNoiseType type = UnitNoiseType::kGaussian;
  float std = 0.1f, ratio = 0.25f, low = 0, high = 1;

  static auto fields() {
    using P = UnitNoiseParams;
    return Fields(
        "noise_param",
        Field("type", &P::type,
              "GAUSSIAN is added; MASKING sets elements to 0, SALT_AND_PEPPER to low or "
              "high; the other elements stay as they are"),
        Field("std", &P::std, "GAUSSIAN: standard deviation"),
        Field("ratio", &P::ratio, "MASKING, SALT_AND_PEPPER: probability of setting an element"),
        Field("low", &P::low, "SALT_AND_PEPPER: what half of the chosen elements become"),
        Field("high", &P::high, "SALT_AND_PEPPER: what the other half become"));
  }
};

class Noise final : public NeuronLayer<UnitNoiseParams> {
 public:
  DTypes dtypes() const override { return DTypes::kFloat32; }
  bool backward_reads_bottom(int) const override { return false; }
  std::vector<int64_t*> state() override { return {&draws_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const UnitNoiseParams& p = params_of();
    check(p.std >= 0, "std must not be negative, got ", p.std);
    check(p.ratio >= 0 && p.ratio <= 1, "ratio must be from 0 to 1, got ", p.ratio);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const UnitNoiseParams& p = params_of();
    const int64_t n = bottom[0]->count();
    const float* x = bottom[0]->data(layout());
    float* y = top[0]->mutable_data(layout());
    if (phase() != Phase::kTrain) return Copy(n, x, y);
    ++draws_;
    if (p.type == UnitNoiseType::kGaussian) {
      kernels::stochastic_kernels().add_gaussian(n, x, p.std, context().seed, stream(), y);
    } else {
      const bool masks = p.type == UnitNoiseType::kMasking;
      Corrupt(n, x, masks ? 0 : p.low, masks ? 0 : p.high, y);
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const int64_t n = bottom[0]->count();
    const float* dy = top[0]->diff(layout());
    float* dx = bottom[0]->mutable_diff(layout());
    const bool adds = params_of().type == UnitNoiseType::kGaussian;
    adds || phase() != Phase::kTrain ? Copy(n, dy, dx) : Corrupt(n, dy, 0, 0, dx);
  }

 private:
  // Of draws_ alone, so that backward finds forward's choice again.
  uint64_t stream() const { return stream_of(name()) + static_cast<uint64_t>(draws_); }

  void Corrupt(int64_t n, const float* x, float low, float high, float* y) const {
    kernels::stochastic_kernels().corrupt(n, x, params_of().ratio, low, high, context().seed,
                                          stream(), y);
  }

  static void Copy(int64_t n, const float* x, float* y) {
    if (x != y) kernels::eltwise_kernels().scale(n, 1, x, y);
  }

  int64_t draws_ = 0;  // forward passes in TRAIN
};

PYDL_REGISTER_LAYER("Noise", Noise,
                    "In TRAIN adds Gaussian noise, or sets random elements to 0 (masking) or to "
                    "the ends of the range (salt and pepper). In TEST the identity.");

}  // namespace pydl
