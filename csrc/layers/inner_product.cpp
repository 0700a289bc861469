// InnerProduct: y = W x + b, a fully connected layer.

#include <algorithm>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "kernels/kept_weights.h"
#include "kernels/scratch.h"
#include "layers/weight_norm.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct InnerProductParams {
  std::optional<int32_t> num_output;
  bool bias_term = true;
  FillerParams weight_filler, bias_filler;
  int32_t axis = 1;
  bool transpose = false, weight_norm = false;

  static auto fields() {
    return Fields(
        "inner_product_param",
        Field("num_output", &InnerProductParams::num_output, "number of outputs; required"),
        Field("bias_term", &InnerProductParams::bias_term, "add a learned bias"),
        Field("weight_filler", &InnerProductParams::weight_filler, "start values of the weights"),
        Field("bias_filler", &InnerProductParams::bias_filler, "start values of the bias"),
        Field("axis", &InnerProductParams::axis,
              "this axis and all after it are the inputs; those before count the products"),
        Field("transpose", &InnerProductParams::transpose, "weights are stored inputs x outputs"),
        Field("weight_norm", &InnerProductParams::weight_norm,
              "weights are g v / |v|: a further blob has the length g of each output's"));
  }
};

// bottom: (M..., K...)   W: (N, K), or transposed (K, N)   b: (N)   top: (M..., N)
// params: W, b; with weight_norm v in the place of W, b, g (N, 1) (layers/weight_norm.h)
class InnerProduct final : public LayerOf<InnerProductParams> {
 public:
  bool adds_to_diff() const override { return true; }
  bool backward_reads_bottom(int) const override { return learns_weights(); }
  DTypes dtypes() const override { return DTypes::kBFloat16; }
  bool CanFuse(const LayerChain& chain, const Layer& next, bool) const override {
    return chain.empty() && next.is_rectifier();
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const auto& p = params_of();
    check(p.num_output && *p.num_output > 0, "inner_product_param.num_output must be given and ",
          "positive", p.num_output ? ", got " + std::to_string(*p.num_output) : "");
    n_ = *p.num_output;
    k_ = bottom[0]->count(bottom[0]->CanonicalAxis(p.axis));
    AddParam(p.transpose ? Shape{k_, n_} : Shape{n_, k_}, &p.weight_filler);
    if (p.bias_term) AddParam({n_}, &p.bias_filler);
    if (!p.weight_norm) return;
    check(!p.transpose, "weight_norm is for weights outputs x inputs; leave out transpose");
    AddParam(WeightNorm::length_shape(params()[0]->shape()));
    WeightNorm::SetLengths(*params()[0], params().back().get());
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const int axis = bottom[0]->CanonicalAxis(params_of().axis);
    check(bottom[0]->count(axis) == k_, "was set up for ", k_, " inputs, but its bottom ",
          shape_text(bottom[0]->shape()), " now has ", bottom[0]->count(axis));
    m_ = bottom[0]->count(0, axis);
    Shape shape(bottom[0]->shape().begin(), bottom[0]->shape().begin() + axis);
    shape.push_back(n_);
    top[0]->Reshape(shape);
  }

  // y (M, N) = x (M, K) op(W) (K, N)
  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto& gemm = kernels::gemm_kernels();
    kernels::GemmShape shape{m_, n_, k_};
    shape.trans_b = !params_of().transpose;
    const Blob& w = weights();
    const float* bias = params_of().bias_term ? params()[1]->data() : nullptr;
    const kernels::Epilogue epilogue{bias, !fused_.empty()};
    const ConstArray x = bottom[0]->data(format());
    const Array y = top[0]->mutable_data(format_for(*top[0]));
    if (m_ <= kFewRows && (x.dtype == DType::kFloat32 || needs_backward())) {
      const kernels::Scratch wide(m_ * k_);
      return gemm.gemm(shape, as_float32(x, wide.data()), w.data(), epilogue, y);
    }
    if (cache_.stale(w)) packed_.weights_changed();
    packed_.use(gemm, shape, w.data(), x.dtype, [&](const kernels::PackedMatrix& packed) {
      gemm.gemm_packed(shape, x, packed, epilogue, y);
    });
  }

  // The gradient of W last: what takes it changes W.
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const ConstArray dy = top[0]->diff(format());
    if (down[0] != Propagate::kNo) PropagateDown(dy, down[0] == Propagate::kAdd, bottom[0]);
    if (params_of().bias_term && param_propagate(1)) {
      kernels::eltwise_kernels().affine_backward_params(m_, n_, 1, nullptr, dy, nullptr,
                                                        params()[1]->update_diff());
    }
    if (!learns_weights()) return;
    const ConstArray x = bottom[0]->data(format());
    if (params_of().weight_norm) return NormGradients(x, dy);
    if (gradient_sink()) return StreamGradient(x, dy);
    const Blob::Sum dw = params()[0]->accumulate_diff();
    WeightsGradient(x, dy, 0, rows(), dw.add ? 1 : 0, dw.data);
  }
  bool streams_gradient(size_t param) const override {
    return param == 0 && !params_of().weight_norm;
  }

  double flops(const Blobs&, const Blobs&) const override {
    return 2.0 * static_cast<double>(m_) * static_cast<double>(n_) * static_cast<double>(k_);
  }

 private:
  const Blob& weights() {
    const Blob& w = *params()[0];
    return params_of().weight_norm ? norm_.weights(w, *params().back()) : w;
  }
  bool learns_weights() const {
    return param_propagate(0) || (params_of().weight_norm && param_propagate(length_index()));
  }
  size_t length_index() const { return params_of().bias_term ? 2 : 1; }  // of g

  // x, or a copy in `wide`: for a bfloat16 x the product packs W, which training changes each time.
  ConstArray as_float32(ConstArray x, float* wide) const {
    if (x.dtype == DType::kFloat32) return x;
    kernels::eltwise_kernels().convert(m_ * k_, x, wide);
    return wide;
  }

  // dx (M, K) = (or +=) dy (M, N) op(W)^T (N, K)
  void PropagateDown(ConstArray dy, bool add, Blob* bottom) {
    kernels::GemmShape shape{m_, k_, n_};
    shape.trans_b = params_of().transpose;
    shape.beta = add ? 1 : 0;
    const Format to = format_for(*bottom);
    kernels::gemm_kernels().gemm(shape, dy, weights().data(), {},
                                 add ? bottom->update_diff(to) : bottom->mutable_diff(to));
  }

  // Of W as it is stored: N outputs, or K inputs.
  int64_t rows() const { return params()[0]->shape(0); }
  int64_t row_size() const { return params()[0]->shape(1); }

  // Rows [begin, begin + count) of dW: (N, K) = dy^T x or, transposed, (K, N) = x^T dy, + beta dW.
  void WeightsGradient(ConstArray x, ConstArray dy, int64_t begin, int64_t count, float beta,
                       float* dw) const {
    const bool transpose = params_of().transpose;
    kernels::GemmShape shape{count, row_size(), m_};
    shape.trans_a = true;
    shape.lda = rows();
    shape.beta = beta;
    kernels::gemm_kernels().gemm(shape, (transpose ? x : dy).from(begin), transpose ? dy : x, {},
                                 dw);
  }

  void NormGradients(ConstArray x, ConstArray dy) {
    WeightsGradient(x, dy, 0, rows(), 0, norm_.clear_gradient());
    const size_t g = length_index();
    norm_.Backward(*params()[0], *params()[g],
                   param_propagate(0) ? params()[0]->update_diff() : nullptr,
                   param_propagate(g) ? params()[g]->update_diff() : nullptr);
  }

  void StreamGradient(ConstArray x, ConstArray dy) const {
    const int64_t most = std::clamp<int64_t>(kStreamedFloats / row_size(), 1, rows());
    const kernels::Scratch part(most * row_size());
    for (int64_t begin = 0; begin < rows(); begin += most) {
      const int64_t count = std::min(most, rows() - begin);
      WeightsGradient(x, dy, begin, count, 0, part.data());
      gradient_sink()(0, begin * row_size(), count * row_size(), part.data());
    }
  }

  // 16 MiB of a gradient at a time: in cache until it is used, but large enough for a product.
  static constexpr int64_t kStreamedFloats = int64_t{1} << 22;
  // So few that a packed copy of W would cost more than it saves, in time and in memory.
  static constexpr int64_t kFewRows = 128;

  int64_t m_ = 0, n_ = 0, k_ = 0;
  kernels::KeptMatrix packed_;
  WeightsCache cache_;
  WeightNorm norm_;
};

PYDL_REGISTER_LAYER("InnerProduct", InnerProduct,
                    "Fully connected: y = W x + b. With weight_norm the learnable blobs are v, b "
                    "and g, torch's weight_v, bias and weight_g.");

}  // namespace pydl
