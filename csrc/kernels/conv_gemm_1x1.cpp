// A convolution that looks at one position at a time is a product of matrices:
// y (positions, OC) = x (positions, IC) w^T.
#include <algorithm>

#include "kernels/column_sums.h"
#include "kernels/conv_implementations.h"
#include "kernels/gemm.h"
#include "kernels/kept_weights.h"

namespace pydl::kernels {
namespace {

class Gemm1x1 final : public Conv {
 public:
  explicit Gemm1x1(const ConvShape& s) : rows_(s.n * s.in_count()), ic_(s.ic), oc_(s.oc) {}

  const char* name() const override { return conv_gemm_1x1.name; }

  void weights_changed() override {
    forward_.weights_changed();
    backward_.weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    GemmShape s{rows_, oc_, ic_};
    s.trans_b = true;
    forward_.use(kernels_, s, w, x.dtype, [&](const PackedMatrix& packed) {
      kernels_.gemm_packed(s, x, packed, epilogue, y);
    });
  }

  void backward_data(ConstArray dy, const float* w, Array dx, bool add) override {
    GemmShape s{rows_, ic_, oc_};
    s.beta = add ? 1.0f : 0.0f;
    backward_.use(kernels_, s, w, dy.dtype,
                  [&](const PackedMatrix& packed) { kernels_.gemm_packed(s, dy, packed, {}, dx); });
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    GemmShape s{oc_, ic_, rows_};
    s.trans_a = true;
    s.beta = 1.0f;
    kernels_.gemm(s, dy, x, {}, dw);
    if (dbias) column_sums_.add(rows_, oc_, dy, dbias);
  }

 private:
  const int64_t rows_, ic_, oc_;
  // Of the instruction set that was in use when this was made: packed weights belong to one.
  const GemmKernels& kernels_ = gemm_kernels();
  const ColumnSums& column_sums_ = column_sums_kernels();
  KeptMatrix forward_, backward_;
};

bool accepts(const ConvShape& s) {
  const auto all = [](const std::vector<int64_t>& v, int64_t value) {
    return std::all_of(v.begin(), v.end(), [value](int64_t i) { return i == value; });
  };
  return s.group == 1 && all(s.kernel, 1) && all(s.stride, 1) && all(s.pad, 0);
}

std::unique_ptr<Conv> make(const ConvShape& s) { return std::make_unique<Gemm1x1>(s); }

}  // namespace

const ConvImplementation conv_gemm_1x1 = {"gemm_1x1", accepts, make};

}  // namespace pydl::kernels
