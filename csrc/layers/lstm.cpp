// LSTM (Hochreiter & Schmidhuber 1997).

#include <algorithm>

#include "kernels/eltwise.h"
#include "layers/recurrent.h"

namespace pydl {

// G = 4: gates i, f, o, g. The state is h, which the top holds of all steps, and c.
class Lstm final : public Recurrent {
 public:
  Lstm() : Recurrent(4, {"hidden", "cell"}) {}

 private:
  void StepsForward(const kernels::RecurrentShape& part, const float* cont, const float* before,
                    float* after, Array h) override {
    const int64_t size = state_size(), last = part.row(part.steps - 1) * hidden();
    cells_.Reshape({part.steps, batch(), hidden()});
    kernels::recurrent_kernels().lstm_forward(part, packed_forward(), cont, before, before + size,
                                              gates_.update_data(), past_.mutable_data(format()),
                                              cells_.mutable_data(), h);
    kernels::eltwise_kernels().convert(size, h.from(last), after);
    std::copy_n(cells_.data() + last, size, after + size);
  }

  void StepsBackward(const Blobs& top, const float* cont, Array dgates, float* sum) override {
    kernels::recurrent_kernels().lstm_backward(shape(), packed_backward(), cont, first_state(1),
                                               gates_.data(), cells_.data(), top[0]->diff(format()),
                                               dgates, sum);
  }

  Blob cells_;  // (T, N, H)
};

PYDL_REGISTER_LAYER(
    "LSTM", Lstm,
    "Long short-term memory over steps x sequences x inputs. The second bottom is 0 "
    "where a sequence begins and 1 where it goes on; an odd number of bottoms has, "
    "third, inputs that are the same at every step. With expose_hidden the first "
    "hidden and cell states are two more bottoms and the last ones two more tops; "
    "they pass no gradient.");

}  // namespace pydl
