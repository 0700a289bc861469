// RNN (Elman 1990), with a hyperbolic tangent behind the hidden state and behind the output.

#include "kernels/activation.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/scratch.h"
#include "layers/recurrent.h"

namespace pydl {

// h[t] = tanh(W_x x[t] + b + W_h h[t-1]), top[t] = tanh(W_o h[t] + b_o)
//
// G = 1. The state is h. Behind the common params: W_o (H, H), b_o (H).
class Rnn final : public Recurrent {
 public:
  Rnn() : Recurrent(1, {"hidden"}) {}

  TopUse backward_reads_top() const override { return TopUse::kData; }

  void SetUp(const Blobs& bottom, const Blobs& top) override {
    Recurrent::SetUp(bottom, top);
    AddParam({hidden(), hidden()}, &params_of().weight_filler);
    AddParam({hidden()}, &params_of().bias_filler);
  }

  double flops(const Blobs& bottom, const Blobs& top) const override {
    return Recurrent::flops(bottom, top) + 2.0 * static_cast<double>(top[0]->count() * hidden());
  }

 private:
  size_t output_index() const { return recurrent_index() + 1; }  // of W_o; b_o is behind it

  void StepsForward(const kernels::RecurrentShape& part, const float* cont, const float* before,
                    float* after, Array top) override {
    hidden_states_.Reshape({part.steps, batch(), hidden()});
    const Array h = hidden_states_.mutable_data(format());
    kernels::recurrent_kernels().rnn_forward(part, packed_forward(), cont, before,
                                             gates_.update_data(), past_.mutable_data(format()), h);
    kernels::eltwise_kernels().convert(state_size(), h.from(part.row(part.steps - 1) * hidden()),
                                       after);
    kernels::GemmShape shape{part.steps * batch(), hidden(), hidden()};
    shape.trans_b = true;
    const auto& gemm = kernels::gemm_kernels();
    const Blob& w = *params()[output_index()];
    if (output_cache_.stale(w))
      packed_output_ = gemm.pack_b(shape, w.data(), std::move(packed_output_), dtype());
    gemm.gemm_packed(shape, h, *packed_output_, {params()[output_index() + 1]->data()}, top);
    kernels::activation_kernels().tanh_forward(hidden_states_.count(), top, top);
  }

  void StepsBackward(const Blobs& top, const float* cont, Array dgates, float* sum) override {
    const int64_t count = top[0]->count(), rows = count / hidden();
    const kernels::Scratch doutput(count), dh(count);
    const Array before_tanh{doutput.data(), dtype()}, of_h{dh.data(), dtype()};
    kernels::activation_kernels().tanh_backward(count, top[0]->data(format()),
                                                top[0]->diff(format()), before_tanh);
    const Gradient gradient{rows, hidden(), before_tanh};
    AddWeightsGradient(output_index(), gradient, hidden_states_.data(format()));
    if (param_propagate(output_index() + 1)) {
      kernels::column_sums_kernels().add(rows, hidden(), before_tanh,
                                         params()[output_index() + 1]->update_diff());
    }
    MultiplyGradient(output_index(), gradient, 0, of_h);
    kernels::recurrent_kernels().rnn_backward(shape(), packed_backward(), cont, gates_.data(), of_h,
                                              dgates, sum);
  }

  Blob hidden_states_;  // (T, N, H)
  kernels::PackedMatrixPtr packed_output_;
  WeightsCache output_cache_;
};

PYDL_REGISTER_LAYER(
    "RNN", Rnn,
    "Recurrent net over steps x sequences x inputs: a hidden state that depends on the inputs and "
    "on the step before, and a learned output of it, each behind a hyperbolic tangent. Bottoms and "
    "tops are as for LSTM, with a hidden state alone.");

}  // namespace pydl
