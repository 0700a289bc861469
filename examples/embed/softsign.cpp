// A layer of this program's own: Softsign, x / (s + |x|) with a scale s.
// Being registered is all it takes: NetSpec and bundles may name it like any built-in layer.

#include <pydl/pydl.h>

#include <cmath>

namespace {

struct SoftsignParams {
  float scale = 1;

  static auto fields() {
    return pydl::Fields("softsign_param",
                        pydl::Field("scale", &SoftsignParams::scale, "x at which y is 1/2"));
  }
};

class Softsign final : public pydl::NeuronLayer<SoftsignParams> {
 public:
  pydl::TopUse backward_reads_top() const override { return pydl::TopUse::kData; }

  void SetUp(const pydl::Blobs&, const pydl::Blobs&) override {
    if (params_of().scale <= 0) throw pydl::Error("softsign_param.scale must be positive");
  }

  void Forward(const pydl::Blobs& bottom, const pydl::Blobs& top) override {
    const int64_t count = bottom[0]->count();
    const float scale = params_of().scale;
    const float* x = bottom[0]->data(layout());
    float* y = top[0]->mutable_data(layout());
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] / (scale + std::abs(x[i]));
  }

  // dy/dx = s / (s + |x|)^2 = (1 - |y|)^2 / s: of y alone, so that it works in place.
  void Backward(const pydl::Blobs& top, const pydl::Propagates& down,
                const pydl::Blobs& bottom) override {
    if (down[0] == pydl::Propagate::kNo) return;
    const int64_t count = bottom[0]->count();
    const float* y = top[0]->data(layout());
    const float* dy = top[0]->diff(layout());
    float* dx = bottom[0]->mutable_diff(layout());
    for (int64_t i = 0; i < count; ++i) {
      const float slope = 1 - std::abs(y[i]);
      dx[i] = dy[i] * slope * slope / params_of().scale;
    }
  }
};

PYDL_REGISTER_LAYER("Softsign", Softsign, "x / (scale + |x|).");

}  // namespace
