// Reduction: the sum, sum of absolute values, sum of squares or mean over the last axes.

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/reduce.h"
#include "pydl/layer.h"

namespace pydl {

enum class ReductionOp { kSum = 1, kAsum = 2, kSumsq = 3, kMean = 4 };
constexpr std::array<EnumName, 4> enum_names(ReductionOp) {
  return {{{"SUM", 1}, {"ASUM", 2}, {"SUMSQ", 3}, {"MEAN", 4}}};
}

struct ReductionParams {
  ReductionOp operation = ReductionOp::kSum;
  int32_t axis = 0;
  float coeff = 1;

  static auto fields() {
    using P = ReductionParams;
    return Fields(
        "reduction_param",
        Field("operation", &P::operation, "what becomes of the values; ASUM: of absolute values"),
        Field("axis", &P::axis, "first axis to sum over; those after it are as well"),
        Field("coeff", &P::coeff, "what the result is multiplied by"));
  }
};

// bottom: (rows, n)   top: (rows), with the axes before `axis`
class Reduction final : public LayerOf<ReductionParams> {
 public:
  bool backward_reads_bottom(int) const override { return !is_linear(); }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const int axis = bottom[0]->CanonicalAxis(params_of().axis);
    rows_ = bottom[0]->count(0, axis), n_ = bottom[0]->count(axis);
    const Shape& shape = bottom[0]->shape();
    top[0]->Reshape(Shape(shape.begin(), shape.begin() + axis));
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& kernels = kernels::reduce_kernels();
    const auto reduce = operation() == ReductionOp::kAsum    ? kernels.asum
                        : operation() == ReductionOp::kSumsq ? kernels.sumsq
                                                             : kernels.sum;
    const float* x = bottom[0]->data();
    reduce(rows_, n_, factor(), x, top[0]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const auto& kernels = kernels::reduce_kernels();
    std::vector<float> factors(rows_);
    kernels::eltwise_kernels().scale(rows_, factor(), top[0]->diff(), factors.data());
    float* dx = bottom[0]->mutable_diff();
    if (is_linear()) return kernels.sum_backward(rows_, n_, factors.data(), dx);
    const auto backward =
        operation() == ReductionOp::kAsum ? kernels.asum_backward : kernels.sumsq_backward;
    backward(rows_, n_, factors.data(), bottom[0]->data(), dx);
  }

 private:
  ReductionOp operation() const { return params_of().operation; }
  bool is_linear() const {
    return operation() == ReductionOp::kSum || operation() == ReductionOp::kMean;
  }
  float factor() const {
    const float coeff = params_of().coeff;
    return operation() == ReductionOp::kMean ? coeff / static_cast<float>(n_) : coeff;
  }

  int64_t rows_ = 0, n_ = 0;
};

PYDL_REGISTER_LAYER("Reduction", Reduction,
                    "Sum, sum of absolute values or squares, or mean over the last axes, times a "
                    "factor.");

}  // namespace pydl
