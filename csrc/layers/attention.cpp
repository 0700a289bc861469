// Attention: scaled dot-product attention with heads (Vaswani et al. 2017, arXiv:1706.03762).

#include <cmath>

#include "core/check.h"
#include "layers/attention_core.h"

namespace pydl {

struct AttentionParams {
  int32_t num_heads = 1;
  bool causal = false;
  std::optional<float> scale;

  static auto fields() {
    using P = AttentionParams;
    return Fields(
        "attention_param", Field("num_heads", &P::num_heads, "heads that share the channels"),
        Field("causal", &P::causal, "a query sees no later keys; the last query sees all of them"),
        Field("scale", &P::scale, "factor of the scores; 1 / sqrt(channels of a head) if absent"));
  }
};

// bottoms: query (N, T_q, E), key and value (N, T_k, E), or one (N, T, 3 E) of the three; mask
// tops:    (N, T_q, E); weights (N, heads, T_q, T_k)
class Attention final : public LayerOf<AttentionParams> {
 public:
  Arity bottoms() const override { return {1, 4}; }
  Arity tops() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override {
    return bottom + 1 < num_bottoms() || num_bottoms() % 2 == 1;
  }
  TopUse backward_reads_top() const override { return TopUse::kData; }
  DTypes dtypes() const override { return DTypes::kBFloat16; }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const auto& p = params_of();
    const Sequences q(packed() ? "its bottom" : "its query", *bottom[0]);
    int64_t channels = q.channels, keys = q.steps;
    if (packed()) {
      check(q.channels % 3 == 0, "its bottom of shape ", shape_text(bottom[0]->shape()),
            " must hold queries, keys and values, but 3 does not divide its ", q.channels,
            " channels");
      channels /= 3;
    } else {
      const Sequences k("its key", *bottom[1], q.batch), v("its value", *bottom[2], q.batch);
      check(k.channels == channels && v.channels == channels && k.steps == v.steps,
            "its query, key and value must have as many channels, and key and value as many "
            "steps, but they are ",
            shape_text(bottom[0]->shape()), ", ", shape_text(bottom[1]->shape()), " and ",
            shape_text(bottom[2]->shape()));
      keys = k.steps;
    }
    const int64_t size = head_size(channels, p.num_heads, "its query");
    const float scale = p.scale.value_or(1 / std::sqrt(static_cast<float>(size)));
    const int64_t stride = q.channels;
    core_.Reshape({q.batch, p.num_heads, q.steps, keys, size, stride, stride, stride, channels,
                   keys, p.causal, scale},
                  mask_of(bottom));
    top[0]->Reshape({q.batch, q.steps, channels});
    if (top.size() > 1) top[1]->Reshape(core_.weights_shape());
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const auto x = Inputs(bottom);
    core_.Forward(x, mask_of(bottom), top[0]->mutable_data(format_for(*top[0])));
    if (top.size() > 1) core_.Weights(x.q, x.k, top[1]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    AttentionArrays<Array> dx;
    if (packed()) {
      if (down[0] == Propagate::kNo) return;
      dx = Parts<Array>(bottom[0]->mutable_diff(format_for(*bottom[0])));
    } else {
      Array* of[] = {&dx.q, &dx.k, &dx.v};
      for (int i = 0; i < 3; ++i) {
        if (down[i] == Propagate::kNo) continue;
        *of[i] = bottom[i]->mutable_diff(format_for(*bottom[i]));
      }
    }
    core_.Backward(Inputs(bottom), top[0]->data(format_for(*top[0])),
                   top[0]->diff(format_for(*top[0])), dx);
  }

  double flops(const Blobs&, const Blobs&) const override { return core_.flops(); }

 private:
  int num_bottoms() const { return static_cast<int>(spec().bottom.size()); }
  bool packed() const { return num_bottoms() <= 2; }

  // Of an array (N, T, 3 E).
  template <class A>
  AttentionArrays<A> Parts(A x) const {
    const int64_t channels = core_.shape().out_stride;
    return {x, x.from(channels), x.from(2 * channels)};
  }
  AttentionArrays<ConstArray> Inputs(const Blobs& bottom) const {
    if (packed()) return Parts(bottom[0]->data(format()));
    return {bottom[0]->data(format()), bottom[1]->data(format()), bottom[2]->data(format())};
  }

  AttentionCore core_;
};

PYDL_REGISTER_LAYER(
    "Attention", Attention,
    "Scaled dot-product attention over sequences x steps x channels, with heads. The bottoms are "
    "query, key and value, or one with the three behind each other in its channels; then perhaps a "
    "mask: the length of each sequence of keys, or for each key 0 where it does not take part. A "
    "query that sees no key gives 0. A second top holds the weights, sequences x heads x queries x "
    "keys; it passes no gradient.");

}  // namespace pydl
