// The gradient of a convolution with respect to its input by columns (kernels/col2im.h); the other
// passes are those of the correlations.
#include <algorithm>

#include "kernels/col2im.h"
#include "kernels/conv_implementations.h"
#include "kernels/conv_passes.h"
#include "kernels/isa.h"
#include "kernels/kept_weights.h"

namespace pydl::kernels {
namespace {

class Col2imConv final : public Conv {
 public:
  explicit Col2imConv(const ConvShape& s)
      : forward_(forward_pass(s)), others_(conv_implicit_gemm.make(s)) {}

  const char* name() const override { return conv_col2im.name; }

  void weights_changed() override {
    weights_.weights_changed();
    others_->weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    others_->forward(x, w, epilogue, y);
  }

  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    const auto& [shape, map] = forward_;
    weights_.use(
        kernels_.packed_size(shape, dy.dtype), dy.dtype,
        [&](float* packed) { kernels_.pack(shape, map, w, dy.dtype, packed); },
        [&](const float* packed) { kernels_.run(shape, dy, packed, epilogue, dx); });
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    others_->backward_weights(x, dy, dw, dbias);
  }

 private:
  // Of the instruction set in use when this was made: packed weights belong to one.
  const Col2imKernels& kernels_ = col2im_kernels();
  const Pass forward_;
  const std::unique_ptr<Conv> others_;
  KeptWeights weights_;
};

bool accepts(const ConvShape& s) { return s.in.size() <= 3 && s.group == 1; }

bool has(ConvPass pass) { return pass == ConvPass::kBackwardData; }

// Vectors of 16 floats that hold so many.
double vectors(int64_t floats) { return static_cast<double>((floats + 15) / 16); }

double all_taps(const CorrelationAxis& a) { return static_cast<double>(a.count * a.taps); }

// Pairs of an output and a tap that meets the source.
double taps_inside(const CorrelationAxis& a) {
  int64_t met = 0;
  for (int64_t i = 0; i < a.count; ++i) {
    for (int64_t t = 0; t < a.taps; ++t) {
      const int64_t at = a.src_first + i * a.src_step + t * a.tap_step;
      met += at >= 0 && at < a.src;
    }
  }
  return static_cast<double>(met);
}

// Both costs are of one image, in multiplications of a vector. A correlation leaves out taps in the
// padding over one axis only.
double correlation_cost(const Correlation& c) {
  const auto& [a0, a1, a2] = c.axis;
  const bool planes = a0.taps > 1;
  const double taps = (planes ? taps_inside(a0) : all_taps(a0)) *
                      (planes ? all_taps(a1) : taps_inside(a1)) * all_taps(a2);
  return taps * vectors(c.oc) * static_cast<double>(c.ic);
}

// What it takes to add a vector to the image: the faster the products, the more of them.
double cost_of_adding(DType dtype) {
  if (dtype == DType::kFloat32 || isa() < Isa::kAvx512Bf16) return 25;
  return isa() == Isa::kAmx ? 170 : 50;
}

double columns_cost(const Correlation& c, DType dtype) {
  const auto& [a0, a1, a2] = c.axis;
  const bool joined = a2.tap_step == 1;  // taps that are neighbours
  const int64_t runs = c.taps() / (joined ? std::max<int64_t>(a2.taps, 1) : 1);
  const double added = static_cast<double>(runs) * vectors(joined ? a2.taps * c.ic : c.ic);
  return static_cast<double>(a0.count * a1.count * a2.count) *
         (vectors(c.taps() * c.ic) * static_cast<double>(c.oc) + added * cost_of_adding(dtype));
}

// Images are shared out among threads, and each stays in a cache.
bool pays(const ConvShape& s, ConvPass pass) {
  constexpr int64_t kLeastImages = 8, kMostFloats = 256 * 1024;
  if (!has(pass)) return false;
  if (s.n < kLeastImages || s.in_count() * s.ic > kMostFloats) return false;
  double correlations = 0;
  for (const Pass& p : backward_passes(s)) correlations += correlation_cost(p.shape);
  return columns_cost(forward_pass(s).shape, s.dtype) < correlations;
}

std::unique_ptr<Conv> make(const ConvShape& s) { return std::make_unique<Col2imConv>(s); }

}  // namespace

const ConvImplementation conv_col2im = {"col2im", accepts, make, pays, has};

}  // namespace pydl::kernels
