// Base of the layers that go through sequences of a fixed number of steps, as in Donahue et al.
// 2014, arXiv:1411.4389.
#pragma once

#include "kernels/gemm.h"
#include "kernels/recurrent.h"
#include "layers/weights_cache.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

enum class Direction { kForward = 0, kBackward = 1 };
constexpr std::array<EnumName, 2> enum_names(Direction) {
  return {{{"FORWARD", 0}, {"BACKWARD", 1}}};
}

struct RecurrentParams {
  int32_t num_output = 0;
  FillerParams weight_filler, bias_filler;
  bool debug_info = false, expose_hidden = false;
  Direction direction = Direction::kForward;

  static auto fields() {
    using P = RecurrentParams;
    return Fields(
        "recurrent_param",
        Field("num_output", &P::num_output, "size of the hidden state; required"),
        Field("weight_filler", &P::weight_filler, "start values of the weights"),
        Field("bias_filler", &P::bias_filler, "start values of the bias"),
        Field("debug_info", &P::debug_info, "accepted, without effect"),
        Field("expose_hidden", &P::expose_hidden,
              "the first state is given by bottoms, the last one by tops"),
        Field("direction", &P::direction, "FORWARD, or BACKWARD: from the last step to the first"));
  }
};

// T steps of N sequences; H = num_output; G gates; a state of one or more (N, H).
//
// bottoms: x (T, N, ...); cont (T, N), 0 where a sequence begins and else 1; x_static (N, ...) or
//          none; with expose_hidden the parts of the first state (1, N, H)
// tops:    (T, N, H); with expose_hidden the parts of the last state (1, N, H)
// params:  W_x (G H, I), b (G H), W_static (G H, S) if there is an x_static, W_h (G H, H), and what
//          a layer adds
//
// Without expose_hidden a Forward goes on from where the one before it stopped, unless cont says
// that sequences begin. As in Caffe, states given or exposed pass no gradient.
//
// BACKWARD reads cont in the same way: step t goes on from step t + 1 unless cont[t + 1] is 0,
// where another sequence begins. A Forward begins with zeros at the last step, or with the state
// given.
class Recurrent : public LayerOf<RecurrentParams> {
 public:
  Arity bottoms() const override { return {2 + exposed_states(), 3 + exposed_states()}; }
  Arity tops() const override { return {1 + exposed_states(), 1 + exposed_states()}; }
  bool adds_to_diff() const override { return true; }
  DTypes dtypes() const override { return DTypes::kBFloat16; }
  bool can_propagate(int bottom) const override {
    return bottom == 0 || (bottom == kStatic && has_static());
  }
  std::vector<int64_t*> state() override;
  void SetUp(const Blobs& bottom, const Blobs& top) override;
  void Reshape(const Blobs& bottom, const Blobs& top) override;
  void Forward(const Blobs& bottom, const Blobs& top) override;
  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override;
  double flops(const Blobs& bottom, const Blobs& top) const override;

 protected:
  // The names of the parts of the state, for messages.
  // `kept`: columns of gates_, in H; `gates` if 0.
  Recurrent(int64_t gates, std::vector<const char*> states, int64_t kept = 0)
      : num_gates_(gates), kept_gates_(kept ? kept : gates), states_(std::move(states)) {}

  // Some steps: gates_ holds x W_x^T + b of them. before, after: (parts of the state, N, H), which
  // may be the same memory; top: (steps, N, H).
  virtual void StepsForward(const kernels::RecurrentShape& part, const float* cont,
                            const float* before, float* after, Array top) = 0;
  // All steps: from the top's diff to the gradient of the gates before their activation, in the
  // layout of gates_, and its sum over the steps (N, G H).
  virtual void StepsBackward(const Blobs& top, const float* cont, Array dgates, float* sum) = 0;

  // A gradient: (rows, columns of some weights).
  struct Gradient {
    int64_t rows, stride;
    ConstArray values;
  };
  // dW (columns, K) += dy^T x, x: (rows, K)
  void AddWeightsGradient(size_t param, const Gradient& dy, ConstArray x);
  // The same for `columns` rows of a dW: (columns, inputs).
  static void AddProduct(const Blob::Sum& dw, int64_t columns, int64_t inputs, const Gradient& dy,
                         ConstArray x);
  // That of W_h; dy has the layout of gates_, x is past_.
  virtual void AddRecurrentGradient(const Gradient& dy, ConstArray x) {
    AddWeightsGradient(recurrent_index(), dy, x);
  }
  // dx (rows, K) = dy W + beta dx
  void MultiplyGradient(size_t param, const Gradient& dy, float beta, Array dx) const;

  int64_t batch() const { return batch_; }
  int64_t hidden() const { return hidden_; }
  int64_t state_size() const { return batch_ * hidden_; }
  DType dtype() const { return format().dtype; }  // of products
  kernels::RecurrentShape shape() const {
    return {steps_, batch_, hidden_, num_gates_, gate_stride(), backward()};
  }
  const float* first_state(int part) const { return start_.data() + part * state_size(); }
  const float* packed_forward() const { return packed_forward_.data(); }
  const float* packed_backward() const { return packed_backward_.data(); }
  size_t recurrent_index() const { return has_static() ? 3 : 2; }  // of W_h

  Blob gates_, past_;  // as in kernels/recurrent.h

 private:
  static constexpr int kStatic = 2;  // the bottom, and the param, that x_static and its weights are

  bool backward() const { return params_of().direction == Direction::kBackward; }
  bool exposed() const { return params_of().expose_hidden; }
  int num_states() const { return static_cast<int>(states_.size()); }
  int exposed_states() const { return exposed() ? num_states() : 0; }
  bool has_static() const { return static_cast<int>(spec().bottom.size()) > 2 + exposed_states(); }
  const Blob& recurrent_weights() const { return *params()[recurrent_index()]; }
  int64_t gate_stride() const { return kernels::gate_stride(kept_gates_, hidden_); }
  int64_t steps_at_once() const;

  void CheckShape(const std::string& what, const Blob& blob, const Shape& wanted) const;
  void CheckShapes(const Blobs& bottom) const;
  void LoadState(const Blobs& bottom);
  const float* GoesOn(const Blobs& bottom);
  void SaveState(const Blobs& top);
  void MultiplyInputs(const Blobs& bottom, int64_t first, int64_t steps);
  void PropagateDown(Propagate down, size_t param, const Gradient& dy, Blob* x) const;

  const int64_t num_gates_, kept_gates_;
  const std::vector<const char*> states_;
  int64_t hidden_ = 0, inputs_ = 0, static_inputs_ = 0;  // H, I, S
  int64_t steps_ = 0, batch_ = 0;                        // T, N
  Blob start_, last_;  // (parts of the state, N, H): before the first step, and after the last one
  std::vector<int64_t> state_;  // after the last step, two floats in each
  Blob turned_cont_;            // (T, N)
  kernels::PackedMatrixPtr packed_input_;
  Blob packed_forward_, packed_backward_;
  WeightsCache input_cache_, forward_cache_, backward_cache_;
};

}  // namespace pydl
