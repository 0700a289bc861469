// RotaryEmbedding (Su et al. 2021, arXiv:2104.09864): turns queries and keys by their place.

#include "layers/attention_core.h"
#include "layers/first_step.h"
#include "layers/rotary_tables.h"

namespace pydl {

struct RotaryEmbeddingParams {
  int32_t num_heads = 1;
  float base = 10000;
  bool interleaved = true;
  int32_t max_length = 0;

  static auto fields() {
    using P = RotaryEmbeddingParams;
    return Fields(
        "rotary_embedding_param",
        Field("num_heads", &P::num_heads, "heads that share the channels"),
        Field("base", &P::base, "pair i of D / 2 turns by t base^(-2 i / D) at step t"),
        Field("interleaved", &P::interleaved,
              "pairs are neighbours; false: they lie half a head apart, as in Llama's weights"),
        Field("max_length", &P::max_length, "most steps of a sequence; 0: no limit"));
  }
};

// bottoms: x (N, T, heads D); perhaps the place of the first step, one value   top: as x
class RotaryEmbedding final : public LayerOf<RotaryEmbeddingParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  bool in_place() const override { return true; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int bottom) const override { return bottom == 1; }
  DTypes dtypes() const override { return DTypes::kBFloat16; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().base > 0, "base must be positive, got ", params_of().base);
    places_.emplace("rotary_embedding_param.max_length", params_of().max_length);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Sequences x("its bottom", *bottom[0]);
    const int32_t heads = params_of().num_heads;
    const int64_t size = head_size(x.channels, heads, "its bottom");
    check(size % 2 == 0, "its heads have ", size, " channels, which must be even: ", x.channels,
          " channels of ", heads, " heads");
    shape_ = {x.batch, x.steps, heads, size, x.channels, x.channels, !params_of().interleaved};
    places_->Reshape(bottom, x.steps);
    if (top[0] != bottom[0]) top[0]->ReshapeLike(*bottom[0]);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(format());
    Turn(bottom, false, x, top[0]->mutable_data(format()));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const ConstArray dy = top[0]->diff(format());
    Turn(bottom, true, dy, bottom[0]->mutable_diff(format()));
  }

 private:
  void Turn(const Blobs& bottom, bool back, ConstArray x, Array y) {
    tables_.Turn(shape_, params_of().base, places_->First(bottom), back, x, y);
  }

  kernels::RotaryShape shape_{};
  std::optional<Places> places_;
  RotaryTables tables_;
};

PYDL_REGISTER_LAYER(
    "RotaryEmbedding", RotaryEmbedding,
    "Turns pairs of channels of each head by angles that grow with the step, so that products of "
    "queries and keys depend on their distance: for queries and keys of sequences x steps x "
    "channels, before Attention. A second bottom of one value is the place of the first step, "
    "where "
    "a sequence comes in parts.");

}  // namespace pydl
