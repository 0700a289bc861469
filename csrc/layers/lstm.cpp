// LSTM (Hochreiter & Schmidhuber 1997), over sequences of a fixed number of steps as in Donahue et
// al. 2014, arXiv:1411.4389.

#include "kernels/lstm.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "kernels/scratch.h"
#include "layers/weights_cache.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct RecurrentParams {
  int32_t num_output = 0;
  FillerParams weight_filler, bias_filler;
  bool debug_info = false, expose_hidden = false;

  static auto fields() {
    using P = RecurrentParams;
    return Fields("recurrent_param",
                  Field("num_output", &P::num_output, "size of the hidden state; required"),
                  Field("weight_filler", &P::weight_filler, "start values of the weights"),
                  Field("bias_filler", &P::bias_filler, "start values of the bias"),
                  Field("debug_info", &P::debug_info, "accepted, without effect"),
                  Field("expose_hidden", &P::expose_hidden,
                        "the first state is given by bottoms, the last one by tops"));
  }
};

// T steps of N sequences; H = num_output.
//
// bottoms: x (T, N, ...), cont (T, N): 0 where a sequence begins, else 1; x_static (N, ...) or
// none;
//          with expose_hidden h0 and c0 (1, N, H)
// tops:    h (T, N, H); with expose_hidden the last h and c (1, N, H)
// params:  W_x (4 H, I), b (4 H), W_static (4 H, S) if there is an x_static, W_h (4 H, H)
//
// Without expose_hidden a Forward goes on from where the one before it stopped, unless cont says
// that sequences begin. As in Caffe, states given or exposed pass no gradient.
class Lstm final : public LayerOf<RecurrentParams> {
 public:
  Arity bottoms() const override { return exposed() ? Arity{4, 5} : Arity{2, 3}; }
  Arity tops() const override { return exposed() ? Arity{3, 3} : Arity{1, 1}; }
  bool adds_to_diff() const override { return true; }
  DTypes dtypes() const override { return DTypes::kBFloat16; }
  bool can_propagate(int bottom) const override {
    return bottom == 0 || (bottom == kStatic && has_static());
  }
  std::vector<int64_t*> state() override {
    std::vector<int64_t*> out;
    for (int64_t& pair : state_) out.push_back(&pair);
    return out;
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const auto& p = params_of();
    check(p.num_output > 0, "recurrent_param.num_output must be given and positive",
          p.num_output ? ", got " + std::to_string(p.num_output) : "");
    hidden_ = p.num_output;
    CheckAxes(bottom);
    inputs_ = bottom[0]->count(2);
    AddParam({4 * hidden_, inputs_}, &p.weight_filler);
    AddParam({4 * hidden_}, &p.bias_filler);
    if (has_static()) {
      static_inputs_ = bottom[kStatic]->count(1);
      AddParam({4 * hidden_, static_inputs_}, &p.weight_filler);
    }
    AddParam({4 * hidden_, hidden_}, &p.weight_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    CheckAxes(bottom);
    steps_ = bottom[0]->shape(0), batch_ = bottom[0]->shape(1);
    CheckShapes(bottom);
    top[0]->Reshape({steps_, batch_, hidden_});
    for (size_t i = 1; i < top.size(); ++i) top[i]->Reshape({1, batch_, hidden_});
    start_.Reshape({2, batch_, hidden_});
    last_.Reshape({2, batch_, hidden_});
    const auto pairs = static_cast<size_t>(exposed() ? 0 : batch_ * hidden_);
    if (state_.size() != pairs) state_.assign(pairs, 0);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    LoadState(bottom);
    const Blob& w = recurrent_weights();
    const auto& lstm = kernels::lstm_kernels();
    if (forward_cache_.stale(w)) {
      packed_forward_.Reshape({lstm.packed_size(shape(), dtype())});
      lstm.pack_forward(shape(), w.data(), dtype(), packed_forward_.mutable_data());
    }
    const int64_t most = steps_at_once();
    gates_.Reshape({most, batch_, gate_stride()});
    past_.Reshape({most, batch_, hidden_});
    cells_.Reshape({most, batch_, hidden_});
    const Array h = top[0]->mutable_data(format());
    for (int64_t t = 0; t < steps_; t += most) {
      ForwardPart(bottom, t, std::min(most, steps_ - t), h.from(t * batch_ * hidden_));
    }
    SaveState(top);
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const Blob& w = recurrent_weights();
    const auto& lstm = kernels::lstm_kernels();
    if (backward_cache_.stale(w)) {
      packed_backward_.Reshape({lstm.packed_size(shape(), dtype())});
      lstm.pack_backward(shape(), w.data(), dtype(), packed_backward_.mutable_data());
    }
    const kernels::Scratch dgates(gates_.count()), sum(batch_ * 4 * hidden_);
    const Array of_steps{dgates.data(), dtype()};
    lstm.backward(shape(), packed_backward_.data(), bottom[1]->data(), first_cells(), gates_.data(),
                  cells_.data(), top[0]->diff(format()), of_steps, sum.data());
    const Gradient gradient{steps_ * batch_, gate_stride(), of_steps};
    AddWeightsGradient(0, gradient, bottom[0]->data(format()));
    if (param_propagate(1)) {
      kernels::column_sums_kernels().add(batch_, 4 * hidden_, sum.data(),
                                         params()[1]->update_diff());
    }
    AddWeightsGradient(recurrent_index(), gradient, past_.data(format()));
    PropagateDown(down[0], 0, gradient, bottom[0]);
    if (!has_static()) return;
    const Gradient of_static{batch_, 4 * hidden_, sum.data()};
    AddWeightsGradient(kStatic, of_static, bottom[kStatic]->data());
    PropagateDown(down[kStatic], kStatic, of_static, bottom[kStatic]);
  }

  double flops(const Blobs&, const Blobs&) const override {
    const auto gates = static_cast<double>(batch_ * 4 * hidden_);
    const auto inputs = static_cast<double>(steps_ * (inputs_ + hidden_) + static_inputs_);
    return 2.0 * gates * inputs;
  }

 private:
  static constexpr int kStatic = 2;  // the bottom, and the param, that x_static and its weights are

  bool exposed() const { return params_of().expose_hidden; }
  bool has_static() const { return spec().bottom.size() % 2 == 1; }
  size_t recurrent_index() const { return has_static() ? 3 : 2; }
  const Blob& recurrent_weights() const { return *params()[recurrent_index()]; }
  int64_t gate_stride() const { return kernels::lstm_gate_stride(hidden_); }
  kernels::LstmShape shape() const { return {steps_, batch_, hidden_, gate_stride()}; }
  // Where nothing has to be kept for a backward pass, gates stay in the cache from their product to
  // their use.
  int64_t steps_at_once() const {
    constexpr int64_t kRows = 256;
    const bool whole = needs_backward() || has_static();
    return whole ? steps_
                 : std::min(steps_, std::max<int64_t>(kRows / std::max<int64_t>(batch_, 1), 1));
  }
  DType dtype() const { return format().dtype; }  // of products
  const float* first_cells() const { return start_.data() + batch_ * hidden_; }

  static void CheckAxes(const Blobs& bottom) {
    check(bottom[0]->axes() >= 2, "its input must have the axes steps, sequences and any others, ",
          "but is ", shape_text(bottom[0]->shape()));
  }

  void CheckShape(const char* what, const Blob& blob, const Shape& wanted) const {
    check(blob.shape() == wanted, what, " must be ", shape_text(wanted), " for ", steps_,
          " steps of ", batch_, " sequences and num_output ", hidden_, ", but is ",
          shape_text(blob.shape()));
  }

  void CheckShapes(const Blobs& bottom) const {
    check(bottom[0]->count(2) == inputs_, "was set up for ", inputs_, " inputs, but its bottom ",
          shape_text(bottom[0]->shape()), " now has ", bottom[0]->count(2));
    CheckShape("the second bottom, which marks where sequences go on,", *bottom[1],
               {steps_, batch_});
    if (has_static()) {
      const Blob& x = *bottom[kStatic];
      check(x.axes() >= 1 && x.shape(0) == batch_ && x.count(1) == static_inputs_,
            "the static input must have ", static_inputs_, " values for each of ", batch_,
            " sequences, but is ", shape_text(x.shape()));
    }
    if (!exposed()) return;
    for (const size_t i : {bottom.size() - 2, bottom.size() - 1}) {
      CheckShape(i + 1 < bottom.size() ? "the bottom with the first hidden state"
                                       : "the bottom with the first cell state",
                 *bottom[i], {1, batch_, hidden_});
    }
  }

  void LoadState(const Blobs& bottom) {
    const int64_t size = batch_ * hidden_;
    float* start = start_.mutable_data();
    if (exposed()) {
      std::copy_n(bottom[bottom.size() - 2]->data(), size, start);
      std::copy_n(bottom[bottom.size() - 1]->data(), size, start + size);
    } else if (size > 0) {
      std::memcpy(start, state_.data(), 2 * size * sizeof(float));
    }
  }

  void SaveState(const Blobs& top) {
    const int64_t size = batch_ * hidden_;
    if (steps_ == 0 || size == 0) return;
    const float* last = last_.data();
    if (exposed()) {
      std::copy_n(last, size, top[1]->mutable_data());
      std::copy_n(last + size, size, top[2]->mutable_data());
    } else {
      std::memcpy(state_.data(), last, 2 * size * sizeof(float));
    }
  }

  // `steps` steps from `first` on, to h (steps, N, H); last_ is the state behind them.
  void ForwardPart(const Blobs& bottom, int64_t first, int64_t steps, Array h) {
    const int64_t size = batch_ * hidden_, last = (steps - 1) * size;
    MultiplyInputs(bottom, first, steps);
    const float* before = (first == 0 ? start_ : last_).data();
    kernels::LstmShape part = shape();
    part.steps = steps;
    kernels::lstm_kernels().forward(
        part, packed_forward_.data(), bottom[1]->data() + first * batch_, before, before + size,
        gates_.update_data(), past_.mutable_data(format()), cells_.mutable_data(), h);
    float* state = last_.mutable_data();
    kernels::eltwise_kernels().convert(size, h.from(last), state);
    std::copy_n(cells_.data() + last, size, state + size);
  }

  // gates (steps N, 4 H) = x W_x^T + b, to which each step gets x_static W_static^T.
  void MultiplyInputs(const Blobs& bottom, int64_t first, int64_t steps) {
    const auto& gemm = kernels::gemm_kernels();
    kernels::GemmShape shape{steps * batch_, 4 * hidden_, inputs_};
    shape.trans_b = true;
    shape.ldc = gate_stride();
    float* gates = gates_.mutable_data();
    if (has_static()) {
      kernels::GemmShape of_static{batch_, 4 * hidden_, static_inputs_};
      of_static.trans_b = true;
      of_static.ldc = gate_stride();
      gemm.gemm(of_static, bottom[kStatic]->data(), params()[kStatic]->data(), {}, gates);
      const int64_t size = batch_ * gate_stride();
      kernels::eltwise_kernels().copy_rows(steps - 1, size, gates, 0, gates + size, size);
      shape.beta = 1;
    }
    const Blob& w = *params()[0];
    if (input_cache_.stale(w))
      packed_input_ = gemm.pack_b(shape, w.data(), std::move(packed_input_), dtype());
    const ConstArray x = bottom[0]->data(format()).from(first * batch_ * inputs_);
    gemm.gemm_packed(shape, x, *packed_input_, {params()[1]->data()}, gates);
  }

  struct Gradient {  // of gates
    int64_t rows, stride;
    ConstArray values;
  };

  // dW (4 H, K) += dgates^T x, x: (rows, K)
  void AddWeightsGradient(size_t param, const Gradient& dgates, ConstArray x) {
    if (!param_propagate(param)) return;
    kernels::GemmShape shape{4 * hidden_, params()[param]->shape(1), dgates.rows};
    shape.trans_a = true;
    shape.lda = dgates.stride;
    const Blob::Sum dw = params()[param]->accumulate_diff();
    shape.beta = dw.add ? 1 : 0;
    kernels::gemm_kernels().gemm(shape, dgates.values, x, {}, dw.data);
  }

  // dx (rows, K) = dgates W, or += if it says so
  void PropagateDown(Propagate down, size_t param, const Gradient& dgates, Blob* x) {
    if (down == Propagate::kNo) return;
    const bool add = down == Propagate::kAdd;
    kernels::GemmShape shape{dgates.rows, params()[param]->shape(1), 4 * hidden_};
    shape.lda = dgates.stride;
    shape.beta = add ? 1 : 0;
    const Format to = format_for(*x);
    kernels::gemm_kernels().gemm(shape, dgates.values, params()[param]->data(), {},
                                 add ? x->update_diff(to) : x->mutable_diff(to));
  }

  int64_t hidden_ = 0, inputs_ = 0, static_inputs_ = 0;  // H, I, S
  int64_t steps_ = 0, batch_ = 0;                        // T, N
  Blob gates_, past_, cells_;                            // as in kernels/lstm.h
  Blob start_, last_;           // (2, N, H): h and c before the first step, and after the last one
  std::vector<int64_t> state_;  // h and c after the last step, two floats in each
  kernels::PackedMatrixPtr packed_input_;
  Blob packed_forward_, packed_backward_;
  WeightsCache input_cache_, forward_cache_, backward_cache_;
};

PYDL_REGISTER_LAYER(
    "LSTM", Lstm,
    "Long short-term memory over steps x sequences x inputs. The second bottom is 0 "
    "where a sequence begins and 1 where it goes on; an odd number of bottoms has, "
    "third, inputs that are the same at every step. With expose_hidden the first "
    "hidden and cell states are two more bottoms and the last ones two more tops; "
    "they pass no gradient.");

}  // namespace pydl
