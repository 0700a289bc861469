// GRU (Cho et al. 2014, arXiv:1406.1078), with the reset gate behind the recurrent product, as
// PyTorch has it.

#include <algorithm>

#include "kernels/column_sums.h"
#include "kernels/scratch.h"
#include "layers/recurrent.h"

namespace pydl {

// G = 3: gates r, z, n. The state is h. Behind the common params: b_h (3 H), the bias of the
// recurrent products; W_x, b, W_h and b_h are PyTorch's weight_ih, bias_ih, weight_hh and bias_hh.
class Gru final : public Recurrent {
 public:
  Gru() : Recurrent(3, {"hidden"}, 4) {}

  void SetUp(const Blobs& bottom, const Blobs& top) override {
    Recurrent::SetUp(bottom, top);
    AddParam({3 * hidden()}, &params_of().bias_filler);
  }

 private:
  size_t bias_index() const { return recurrent_index() + 1; }  // of b_h

  void StepsForward(const kernels::RecurrentShape& part, const float* cont, const float* before,
                    float* after, Array h) override {
    kernels::recurrent_kernels().gru_forward(
        part, packed_forward(), cont, params()[bias_index()]->data(), before, gates_.update_data(),
        past_.mutable_data(format()), after, h);
  }

  void StepsBackward(const Blobs& top, const float* cont, Array dgates, float* sum) override {
    const kernels::Scratch sum_u(state_size());
    kernels::recurrent_kernels().gru_backward(shape(), packed_backward(), cont, gates_.data(),
                                              past_.data(format()), top[0]->diff(format()), dgates,
                                              sum, sum_u.data());
    if (!param_propagate(bias_index())) return;
    // Of r and z it is that of the other bias.
    const int64_t columns = 3 * hidden(), shared = 2 * hidden();
    const kernels::Scratch db(columns);
    std::fill_n(db.data(), columns, 0.0f);
    const auto& add = kernels::column_sums_kernels().add;
    add(batch(), columns, sum, db.data());
    std::fill_n(db.data() + shared, hidden(), 0.0f);
    add(batch(), hidden(), sum_u.data(), db.data() + shared);
    float* diff = params()[bias_index()]->update_diff();
    for (int64_t i = 0; i < columns; ++i) diff[i] += db.data()[i];
  }

  // The gradient of n's recurrent product stands behind the three gates'.
  void AddRecurrentGradient(const Gradient& dy, ConstArray x) override {
    if (!param_propagate(recurrent_index())) return;
    const int64_t size = hidden();
    const Blob::Sum dw = params()[recurrent_index()]->accumulate_diff();
    AddProduct(dw, 2 * size, size, dy, x);
    const Gradient of_u{dy.rows, dy.stride, dy.values.from(3 * size)};
    AddProduct({dw.data + 2 * size * size, dw.add}, size, size, of_u, x);
  }
};

PYDL_REGISTER_LAYER(
    "GRU", Gru,
    "Gated recurrent unit over steps x sequences x inputs, with PyTorch's gates (r, z, n) and "
    "weights: W_x, b_x, W_h, b_h. Bottoms and tops are as for LSTM, with a hidden state alone.");

}  // namespace pydl
