// LSTMUnit: one step of an LSTM, for nets that spell the recurrence out.

#include "core/check.h"
#include "kernels/recurrent.h"
#include "pydl/layer.h"

namespace pydl {

// bottoms: c (1, N, H) of the step before, gates (1, N, 4 H) in the order i, f, o, g before their
//          activation, cont (1, N): 0 where a sequence begins
// tops:    c and h (1, N, H)
class LstmUnit final : public LayerOf<> {
 public:
  Arity bottoms() const override { return {3, 3}; }
  Arity tops() const override { return {2, 2}; }
  bool can_propagate(int bottom) const override { return bottom < 2; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& c = bottom[0]->shape();
    check(c.size() == 3 && c[0] == 1,
          "the first bottom, the cells of the step before, must be 1 x N x H, but is ",
          shape_text(c));
    batch_ = c[1], hidden_ = c[2];
    CheckShape("the second bottom, the gates,", *bottom[1], {1, batch_, 4 * hidden_});
    CheckShape("the third bottom, which marks where sequences go on,", *bottom[2], {1, batch_});
    for (Blob* y : top) y->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    kernels::recurrent_kernels().lstm_unit_forward(batch_, hidden_, bottom[2]->data(),
                                                   bottom[0]->data(), bottom[1]->data(),
                                                   top[0]->mutable_data(), top[1]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const auto diff = [&](int i) {
      return down[i] == Propagate::kNo ? nullptr : bottom[i]->mutable_diff();
    };
    kernels::recurrent_kernels().lstm_unit_backward(
        batch_, hidden_, bottom[2]->data(), bottom[0]->data(), bottom[1]->data(), top[0]->diff(),
        top[1]->diff(), diff(0), diff(1));
  }

 private:
  void CheckShape(const char* what, const Blob& blob, const Shape& wanted) const {
    check(blob.shape() == wanted, what, " must be ", shape_text(wanted), " for ", batch_,
          " sequences of ", hidden_, " cells, but is ", shape_text(blob.shape()));
  }

  int64_t batch_ = 0, hidden_ = 0;
};

PYDL_REGISTER_LAYER("LSTMUnit", LstmUnit,
                    "One step of an LSTM: from the cells before, the gates and where sequences go "
                    "on to the cells and the hidden state.");

}  // namespace pydl
