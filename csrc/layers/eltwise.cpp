// Eltwise: the sum, product or maximum of several blobs of one shape, element by element.

#include "kernels/eltwise.h"

#include "core/check.h"
#include "pydl/layer.h"

namespace pydl {

enum class EltwiseOp { kProd = 0, kSum = 1, kMax = 2 };
constexpr std::array<EnumName, 3> enum_names(EltwiseOp) {
  return {{{"PROD", 0}, {"SUM", 1}, {"MAX", 2}}};
}

struct EltwiseParams {
  EltwiseOp operation = EltwiseOp::kSum;
  std::vector<float> coeff;
  bool stable_prod_grad = true;

  static auto fields() {
    using P = EltwiseParams;
    return Fields("eltwise_param", Field("operation", &P::operation, "PROD, SUM or MAX"),
                  Field("coeff", &P::coeff, "SUM: a factor for each bottom; 1 if absent"),
                  Field("stable_prod_grad", &P::stable_prod_grad,
                        "PROD: multiply for the gradient; false: divide, faster for many bottoms"));
  }
};

class Eltwise final : public LayerOf<EltwiseParams> {
 public:
  Arity bottoms() const override { return {2, -1}; }
  Layouts layouts() const override { return Layouts::kAny; }
  bool is_sum() const override {
    return params_of().operation == EltwiseOp::kSum && params_of().coeff.empty();
  }
  bool adds_to_diff() const override { return params_of().operation == EltwiseOp::kSum; }
  bool CanFuse(const LayerChain& chain, const Layer& next, bool) const override {
    return is_sum() && spec_.bottom.size() == 2 && chain.empty() && next.is_rectifier();
  }
  bool can_repeat() const override { return params_of().operation == EltwiseOp::kSum; }
  void Repeat(const Blobs& bottom, const Blobs& top) override { Forward(bottom, top); }
  DTypes dtypes() const override { return DTypes::kAny; }
  bool backward_reads_bottom(int) const override {
    return params_of().operation == EltwiseOp::kProd;
  }
  TopUse backward_reads_top() const override { return divides() ? TopUse::kData : TopUse::kNone; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const EltwiseParams& p = params_of();
    check(p.coeff.empty() || p.coeff.size() == bottom.size(), "coeff is given ", p.coeff.size(),
          " time(s) for ", bottom.size(), " bottoms; give it once per bottom or not at all");
    check(p.coeff.empty() || p.operation == EltwiseOp::kSum, "coeff is for operation: SUM only");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    for (size_t i = 1; i < bottom.size(); ++i) {
      check(bottom[i]->shape() == bottom[0]->shape(), "its bottoms must have one shape, but \"",
            spec_.bottom[0], "\" is ", shape_text(bottom[0]->shape()), " and \"", spec_.bottom[i],
            "\" is ", shape_text(bottom[i]->shape()));
    }
    top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    Inputs x;
    for (const Blob* b : bottom) x.push_back(b->data(format()));
    const Array y = top[0]->mutable_data(format());
    switch (params_of().operation) {
      case EltwiseOp::kSum:
        return Sum(x, top[0]->count(), y);
      case EltwiseOp::kProd:
        return Product(x, top[0]->count(), y);
      case EltwiseOp::kMax:
        return Max(x, top[0]->count(), y);
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto& kernels = kernels::eltwise_kernels();
    const int64_t n = top[0]->count();
    const ConstArray dy = top[0]->diff(format());
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (down[i] == Propagate::kNo) continue;
      const bool add = down[i] == Propagate::kAdd;
      const Array dx = add ? bottom[i]->update_diff(format()) : bottom[i]->mutable_diff(format());
      switch (params_of().operation) {
        case EltwiseOp::kSum:
          if (add) {
            kernels.axpby(n, coeff(i), dy, 1, dx);
          } else {
            kernels.scale(n, coeff(i), dy, dx);
          }
          break;
        case EltwiseOp::kProd:
          ProductOfOthers(bottom, *top[0], i, dx);
          kernels.mul(n, dx, dy, dx);
          break;
        case EltwiseOp::kMax:
          kernels.select(n, dy, index_.data(), static_cast<int32_t>(i), dx);
          break;
      }
    }
  }

 private:
  using Inputs = std::vector<ConstArray>;

  float coeff(size_t i) const { return params_of().coeff.empty() ? 1 : params_of().coeff[i]; }
  bool divides() const {
    return params_of().operation == EltwiseOp::kProd && !params_of().stable_prod_grad;
  }

  void Sum(const Inputs& x, int64_t n, Array y) const {
    const auto& kernels = kernels::eltwise_kernels();
    if (!fused_.empty()) return kernels.add_relu(n, x[0], x[1], y);
    size_t next = 1;
    if (params_of().coeff.empty()) {
      kernels.add(n, x[0], x[1], y);
      next = 2;
    } else {
      kernels.scale(n, coeff(0), x[0], y);
    }
    for (size_t i = next; i < x.size(); ++i) kernels.axpby(n, coeff(i), x[i], 1, y);
  }

  static void Product(const Inputs& x, int64_t n, Array y) {
    kernels::eltwise_kernels().mul(n, x[0], x[1], y);
    for (size_t i = 2; i < x.size(); ++i) kernels::eltwise_kernels().mul(n, y, x[i], y);
  }

  // As in Caffe, the second of the first two wins a tie; after that the earlier one does.
  void Max(const Inputs& x, int64_t n, Array y) {
    const auto& kernels = kernels::eltwise_kernels();
    index_.resize(n);
    kernels.max2(n, x[0], x[1], 0, 1, y, index_.data());
    for (size_t i = 2; i < x.size(); ++i) {
      kernels.max_with(n, x[i], static_cast<int32_t>(i), y, index_.data());
    }
  }

  void ProductOfOthers(const Blobs& bottom, const Blob& top, size_t but, Array product) const {
    const auto& kernels = kernels::eltwise_kernels();
    const int64_t n = top.count();
    if (divides()) return kernels.div(n, top.data(format()), bottom[but]->data(format()), product);
    bool first = true;
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (i == but) continue;
      const ConstArray x = bottom[i]->data(format());
      if (first) {
        kernels.scale(n, 1, x, product);
      } else {
        kernels.mul(n, product, x, product);
      }
      first = false;
    }
  }

  std::vector<int32_t> index_;  // MAX: the bottom that won
};

PYDL_REGISTER_LAYER("Eltwise", Eltwise,
                    "Sum (with factors), product or maximum of blobs of one shape.");

}  // namespace pydl
