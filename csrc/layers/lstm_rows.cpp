// Lstm: the LSTM of Junhyuk Oh's Caffe, on which many readers of text were trained. It computes
// what LSTM does; bottoms, fields and the order of the blobs are its own.

#include <algorithm>

#include "core/check.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

struct LstmParams {
  uint32_t num_output = 0, batch_size = 0;
  float clipping_threshold = 0;
  FillerParams weight_filler, bias_filler;

  static auto fields() {
    using P = LstmParams;
    return Fields("lstm_param",
                  Field("num_output", &P::num_output, "size of the hidden state; required"),
                  Field("clipping_threshold", &P::clipping_threshold,
                        "accepted, without effect: the solver's clip_gradients bounds gradients"),
                  Field("weight_filler", &P::weight_filler, "start values of the weights"),
                  Field("bias_filler", &P::bias_filler, "start values of the bias"),
                  Field("batch_size", &P::batch_size,
                        "number of sequences, whose steps are the rows of the bottom: (T N, ...)"));
  }
};

// T steps of N sequences of I inputs; H = num_output. An LSTM within does the work.
//
// bottoms: x (T N, ...), where batch_size says what N is, or (T, N, I), or rows of one sequence
//          (T, ...); and perhaps cont (T N), 0 where a sequence begins and else 1. Without it a
//          sequence begins at the first row.
// top:     (T N, H), or (T, N, H)
// params:  W_x (4 H, I), W_h (4 H, H), b (4 H), gates in the order i, f, o, g
class LstmRows final : public LayerOf<LstmParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  std::vector<int64_t*> state() override { return inner_->state(); }

  void SetUp(const Blobs& bottom, const Blobs& top) override {
    check(params_of().num_output > 0, "lstm_param.num_output must be given and positive");
    LayerSpec spec = spec_;
    spec.type = "LSTM";
    spec.bottom = {"x", "cont"};
    spec.params = {{"recurrent_param",
                    {{"num_output", static_cast<int64_t>(params_of().num_output)},
                     {"weight_filler", params_value(params_of().weight_filler)},
                     {"bias_filler", params_value(params_of().bias_filler)}}}};
    inner_ = MakeLayer(spec, context());
    View(bottom, top);
    inner_->SetUp({&x_, &cont_}, {&y_});
    for (const int i : kOrder) AddParam(inner_->params()[i]);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    View(bottom, top);
    inner_->Reshape({&x_, &cont_}, {&y_});
    y_.ShareData(*top[0]);
    y_.ShareDiff(*top[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    Share(bottom, top);
    float* cont = cont_.mutable_data();
    if (bottom.size() > 1) {
      std::copy_n(bottom[1]->data(), cont_.count(), cont);
    } else {
      std::fill_n(cont, cont_.count(), 1.0f);
      std::fill_n(cont, std::min(cont_.count(), cont_.shape(1)), 0.0f);
    }
    inner_->set_needs_backward(needs_backward());
    inner_->Forward({&x_, &cont_}, {&y_});
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    Share(bottom, top);
    for (size_t i = 0; i < params().size(); ++i) {
      inner_->set_param_propagate(kOrder[i], param_propagate(i));
    }
    inner_->Backward({&y_}, {down[0], Propagate::kNo}, {&x_, &cont_});
  }

  double flops(const Blobs&, const Blobs&) const override { return inner_->flops({}, {}); }

 private:
  static constexpr int kOrder[] = {0, 2, 1};  // where LSTM has this one's params

  // The shapes of the LSTM within, and the top's.
  void View(const Blobs& bottom, const Blobs& top) {
    const Blob& x = *bottom[0];
    const int64_t hidden = params_of().num_output, given = params_of().batch_size;
    check(x.axes() >= 2, "needs rows of inputs, got a bottom of shape ", shape_text(x.shape()));
    const bool rows = given > 0 || x.axes() != 3;
    const int64_t batch = given > 0 ? given : rows ? 1 : x.shape(1);
    check(!rows || x.shape(0) % batch == 0, "the ", x.shape(0), " rows of its bottom ",
          shape_text(x.shape()), " are no multiple of batch_size ", batch);
    const int64_t steps = rows ? x.shape(0) / batch : x.shape(0);
    x_.Reshape({steps, batch, rows ? x.count(1) : x.count(2)});
    cont_.Reshape({steps, batch});
    check(bottom.size() < 2 || bottom[1]->count() == cont_.count(), "needs a 0 or 1 for each of ",
          steps, " steps of ", batch, " sequences, got ",
          bottom.size() < 2 ? "" : shape_text(bottom[1]->shape()));
    top[0]->Reshape(rows ? Shape{steps * batch, hidden} : Shape{steps, batch, hidden});
    y_.Reshape({steps, batch, hidden});
  }

  void Share(const Blobs& bottom, const Blobs& top) {
    x_.ShareData(*bottom[0]);
    x_.ShareDiff(*bottom[0]);
    y_.ShareData(*top[0]);
    y_.ShareDiff(*top[0]);
  }

  std::unique_ptr<Layer> inner_;
  Blob x_, cont_, y_;
};

PYDL_REGISTER_LAYER("Lstm", LstmRows,
                    "The LSTM of Junhyuk Oh's Caffe: LSTM's arithmetic, and gates in the same "
                    "order (i, f, o, g), but its blobs are W_x, W_h, b, steps and sequences may "
                    "be the rows of one axis (batch_size says how many sequences), and the "
                    "second bottom is optional.");

}  // namespace pydl
