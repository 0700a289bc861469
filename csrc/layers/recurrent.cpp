#include "layers/recurrent.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/scratch.h"

namespace pydl {

namespace {

void check_axes(const Blobs& bottom) {
  check(bottom[0]->axes() >= 2, "its input must have the axes steps, sequences and any others, ",
        "but is ", shape_text(bottom[0]->shape()));
}

}  // namespace

std::vector<int64_t*> Recurrent::state() {
  std::vector<int64_t*> out;
  for (int64_t& pair : state_) out.push_back(&pair);
  return out;
}

// ---- shapes ----

void Recurrent::SetUp(const Blobs& bottom, const Blobs&) {
  const auto& p = params_of();
  check(p.num_output > 0, "recurrent_param.num_output must be given and positive",
        p.num_output ? ", got " + std::to_string(p.num_output) : "");
  hidden_ = p.num_output;
  check_axes(bottom);
  inputs_ = bottom[0]->count(2);
  const int64_t rows = num_gates_ * hidden_;
  AddParam({rows, inputs_}, &p.weight_filler);
  AddParam({rows}, &p.bias_filler);
  if (has_static()) {
    static_inputs_ = bottom[kStatic]->count(1);
    AddParam({rows, static_inputs_}, &p.weight_filler);
  }
  AddParam({rows, hidden_}, &p.weight_filler);
}

void Recurrent::Reshape(const Blobs& bottom, const Blobs& top) {
  check_axes(bottom);
  steps_ = bottom[0]->shape(0), batch_ = bottom[0]->shape(1);
  CheckShapes(bottom);
  top[0]->Reshape({steps_, batch_, hidden_});
  for (size_t i = 1; i < top.size(); ++i) top[i]->Reshape({1, batch_, hidden_});
  start_.Reshape({num_states(), batch_, hidden_});
  last_.Reshape({num_states(), batch_, hidden_});
  const int64_t floats = exposed() || backward() ? 0 : num_states() * state_size();
  const auto pairs = static_cast<size_t>((floats + 1) / 2);
  if (state_.size() != pairs) state_.assign(pairs, 0);
}

void Recurrent::CheckShape(const std::string& what, const Blob& blob, const Shape& wanted) const {
  check(blob.shape() == wanted, what, " must be ", shape_text(wanted), " for ", steps_,
        " steps of ", batch_, " sequences and num_output ", hidden_, ", but is ",
        shape_text(blob.shape()));
}

void Recurrent::CheckShapes(const Blobs& bottom) const {
  check(bottom[0]->count(2) == inputs_, "was set up for ", inputs_, " inputs, but its bottom ",
        shape_text(bottom[0]->shape()), " now has ", bottom[0]->count(2));
  CheckShape("the second bottom, which marks where sequences go on,", *bottom[1], {steps_, batch_});
  if (has_static()) {
    const Blob& x = *bottom[kStatic];
    check(x.axes() >= 1 && x.shape(0) == batch_ && x.count(1) == static_inputs_,
          "the static input must have ", static_inputs_, " values for each of ", batch_,
          " sequences, but is ", shape_text(x.shape()));
  }
  for (int i = 0; i < exposed_states(); ++i) {
    CheckShape(text("the bottom with the first ", states_[i], " state"),
               *bottom[bottom.size() - num_states() + i], {1, batch_, hidden_});
  }
}

double Recurrent::flops(const Blobs&, const Blobs&) const {
  const auto gates = static_cast<double>(batch_ * num_gates_ * hidden_);
  const auto inputs = static_cast<double>(steps_ * (inputs_ + hidden_) + static_inputs_);
  return 2.0 * gates * inputs;
}

// ---- the state between passes ----

void Recurrent::LoadState(const Blobs& bottom) {
  float* start = start_.mutable_data();
  if (backward() && !exposed()) std::fill_n(start, start_.count(), 0.0f);
  if (!exposed() && !state_.empty()) {
    std::memcpy(start, state_.data(), start_.count() * sizeof(float));
  }
  for (int i = 0; i < exposed_states(); ++i) {
    const Blob& given = *bottom[bottom.size() - num_states() + i];
    std::copy_n(given.data(), state_size(), start + i * state_size());
  }
}

// (T, N), 0 where a step goes on from none: in the direction of the layer.
const float* Recurrent::GoesOn(const Blobs& bottom) {
  const float* cont = bottom[1]->data();
  if (!backward() || steps_ == 0) return cont;
  turned_cont_.Reshape({steps_, batch_});
  float* turned = turned_cont_.mutable_data();
  std::copy(cont + batch_, cont + steps_ * batch_, turned);
  std::fill_n(turned + (steps_ - 1) * batch_, batch_, 1.0f);
  return turned;
}

void Recurrent::SaveState(const Blobs& top) {
  if (steps_ == 0) return;
  const float* last = last_.data();
  if (!exposed() && !state_.empty()) {
    std::memcpy(state_.data(), last, last_.count() * sizeof(float));
  }
  for (int i = 0; i < exposed_states(); ++i) {
    std::copy_n(last + i * state_size(), state_size(), top[1 + i]->mutable_data());
  }
}

// ---- forward ----

// Where nothing has to be kept for a backward pass, gates stay in the cache from their product to
// their use.
int64_t Recurrent::steps_at_once() const {
  constexpr int64_t kRows = 256;
  const bool whole = needs_backward() || has_static();
  return whole ? steps_
               : std::min(steps_, std::max<int64_t>(kRows / std::max<int64_t>(batch_, 1), 1));
}

void Recurrent::Forward(const Blobs& bottom, const Blobs& top) {
  LoadState(bottom);
  const Blob& w = recurrent_weights();
  const auto& kernels = kernels::recurrent_kernels();
  if (forward_cache_.stale(w)) {
    packed_forward_.Reshape({kernels.packed_size(shape(), dtype())});
    kernels.pack_forward(shape(), w.data(), dtype(), packed_forward_.mutable_data());
  }
  const int64_t most = steps_at_once();
  gates_.Reshape({most, batch_, gate_stride()});
  past_.Reshape({most, batch_, hidden_});
  const Array y = top[0]->mutable_data(format());
  const float* cont = GoesOn(bottom);
  for (int64_t taken = 0; taken < steps_; taken += most) {
    kernels::RecurrentShape part = shape();
    part.steps = std::min(most, steps_ - taken);
    const int64_t t = backward() ? steps_ - taken - part.steps : taken;
    MultiplyInputs(bottom, t, part.steps);
    const float* before = (taken == 0 ? start_ : last_).data();
    StepsForward(part, cont + t * batch_, before, last_.mutable_data(), y.from(t * state_size()));
  }
  SaveState(top);
}

// gates (steps N, G H) = x W_x^T + b, to which each step gets x_static W_static^T.
void Recurrent::MultiplyInputs(const Blobs& bottom, int64_t first, int64_t steps) {
  const auto& gemm = kernels::gemm_kernels();
  const int64_t columns = num_gates_ * hidden_;
  kernels::GemmShape shape{steps * batch_, columns, inputs_};
  shape.trans_b = true;
  shape.ldc = gate_stride();
  float* gates = gates_.mutable_data();
  if (has_static()) {
    kernels::GemmShape of_static{batch_, columns, static_inputs_};
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

// ---- backward ----

void Recurrent::Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) {
  const Blob& w = recurrent_weights();
  const auto& kernels = kernels::recurrent_kernels();
  if (backward_cache_.stale(w)) {
    packed_backward_.Reshape({kernels.packed_size(shape(), dtype())});
    kernels.pack_backward(shape(), w.data(), dtype(), packed_backward_.mutable_data());
  }
  const int64_t columns = num_gates_ * hidden_;
  const kernels::Scratch dgates(gates_.count()), sum(batch_ * columns);
  const Array of_steps{dgates.data(), dtype()};
  StepsBackward(top, GoesOn(bottom), of_steps, sum.data());
  const Gradient gradient{steps_ * batch_, gate_stride(), of_steps};
  AddWeightsGradient(0, gradient, bottom[0]->data(format()));
  if (param_propagate(1)) {
    kernels::column_sums_kernels().add(batch_, columns, sum.data(), params()[1]->update_diff());
  }
  AddRecurrentGradient(gradient, past_.data(format()));
  PropagateDown(down[0], 0, gradient, bottom[0]);
  if (!has_static()) return;
  const Gradient of_static{batch_, columns, sum.data()};
  AddWeightsGradient(kStatic, of_static, bottom[kStatic]->data());
  PropagateDown(down[kStatic], kStatic, of_static, bottom[kStatic]);
}

void Recurrent::AddWeightsGradient(size_t param, const Gradient& dy, ConstArray x) {
  if (!param_propagate(param)) return;
  const Shape weights = params()[param]->shape();
  AddProduct(params()[param]->accumulate_diff(), weights[0], weights[1], dy, x);
}

void Recurrent::AddProduct(const Blob::Sum& dw, int64_t columns, int64_t inputs, const Gradient& dy,
                           ConstArray x) {
  kernels::GemmShape shape{columns, inputs, dy.rows};
  shape.trans_a = true;
  shape.lda = dy.stride;
  shape.beta = dw.add ? 1 : 0;
  kernels::gemm_kernels().gemm(shape, dy.values, x, {}, dw.data);
}

void Recurrent::MultiplyGradient(size_t param, const Gradient& dy, float beta, Array dx) const {
  const Shape& weights = params()[param]->shape();
  kernels::GemmShape shape{dy.rows, weights[1], weights[0]};
  shape.lda = dy.stride;
  shape.beta = beta;
  kernels::gemm_kernels().gemm(shape, dy.values, params()[param]->data(), {}, dx);
}

void Recurrent::PropagateDown(Propagate down, size_t param, const Gradient& dy, Blob* x) const {
  if (down == Propagate::kNo) return;
  const bool add = down == Propagate::kAdd;
  const Format to = format_for(*x);
  MultiplyGradient(param, dy, add ? 1 : 0, add ? x->update_diff(to) : x->mutable_diff(to));
}

}  // namespace pydl
