// MultiHeadAttention (Vaswani et al. 2017, arXiv:1706.03762), as torch.nn.MultiheadAttention has
// it: attention between learned projections.

#include <cmath>

#include "core/check.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "kernels/kept_weights.h"
#include "layers/attention_core.h"
#include "layers/first_step.h"
#include "layers/rotary_tables.h"
#include "layers/weights_cache.h"
#include "pydl/filler.h"

namespace pydl {

namespace {

// Rows [first, first + n) of weights (..., K) and of a bias: y (M, n) = x (M, K) W^T + b, y's rows
// `stride` apart.
struct Projection {
  int64_t m, n, k, first = 0, stride = 0;

  kernels::GemmShape shape() const {
    kernels::GemmShape s{m, n, k};
    s.trans_b = true;
    s.ldc = stride;
    return s;
  }
  ConstArray weights(const Blob& w) const { return ConstArray(w.data()).from(first * k); }

  // dx = (or +=) dy W
  void PropagateDown(ConstArray dy, const Blob& w, bool add, Array dx) const {
    kernels::GemmShape s{m, k, n};
    s.lda = stride;
    s.beta = add ? 1 : 0;
    kernels::gemm_kernels().gemm(s, dy, weights(w), {}, dx);
  }
  // dW = (or +=) dy^T x, for its rows of `dw`.
  void Gradient(ConstArray dy, ConstArray x, const Blob::Sum& dw) const {
    kernels::GemmShape s{n, k, m};
    s.trans_a = true;
    s.lda = stride;
    s.beta = dw.add ? 1 : 0;
    kernels::gemm_kernels().gemm(s, dy, x, {}, dw.data + first * k);
  }
};

// The forward product, with weights that inference packs once.
class PackedProjection {
 public:
  void Forward(const Projection& p, ConstArray x, const Blob& w, const float* bias, Array y) {
    constexpr int64_t kFewRows = 64;  // packing would cost more than it saves
    const auto& gemm = kernels::gemm_kernels();
    const kernels::Epilogue epilogue{bias ? bias + p.first : nullptr};
    if (p.m <= kFewRows && x.dtype == DType::kFloat32) {
      return gemm.gemm(p.shape(), x, p.weights(w), epilogue, y);
    }
    if (cache_.stale(w)) packed_.weights_changed();
    packed_.use(gemm, p.shape(), p.weights(w), x.dtype, [&](const kernels::PackedMatrix& packed) {
      gemm.gemm_packed(p.shape(), x, packed, epilogue, y);
    });
  }

 private:
  kernels::KeptMatrix packed_;
  WeightsCache cache_;
};

}  // namespace

struct MultiHeadAttentionParams {
  int32_t num_heads = 1;
  bool causal = false, bias_term = true, expose_cache = false;
  float rotary_base = 0;
  bool rotary_interleaved = true;
  FillerParams weight_filler{.type = "xavier"}, bias_filler;

  static auto fields() {
    using P = MultiHeadAttentionParams;
    return Fields(
        "multi_head_attention_param",
        Field("num_heads", &P::num_heads, "heads that share the channels"),
        Field("causal", &P::causal, "a query sees no later keys; the last query sees all of them"),
        Field("bias_term", &P::bias_term, "the projections have learned biases"),
        Field(
            "expose_cache", &P::expose_cache,
            "a sequence comes in parts: keys and values of the steps before are given by a bottom"),
        Field("rotary_base", &P::rotary_base,
              "queries and keys are turned by their places, as RotaryEmbedding turns them; 0: not"),
        Field("rotary_interleaved", &P::rotary_interleaved,
              "what turns together are neighbours; false: they lie half a head apart"),
        Field("weight_filler", &P::weight_filler, "start values of the weights; xavier if absent"),
        Field("bias_filler", &P::bias_filler, "start values of the biases"));
  }
};

// bottoms: query (N, T_q, E), key and value (N, T_k, E), both the query if absent; mask
//          with expose_cache: x (N, T, E), cache (N, L, 2 E), the place of x's first step (1)
// tops:    (N, T_q, E); weights (N, heads, T_q, T_k), or with expose_cache the cache with x's steps
// params:  in_proj_weight (3 E, E), in_proj_bias (3 E), out_proj.weight (E, E), out_proj.bias (E)
//
// Projections lie side by side: q, k and v (N, T, 3 E) where the three bottoms are one, else q
// (N, T_q, E) and k and v (N, T_k, 2 E).
class MultiHeadAttention final : public LayerOf<MultiHeadAttentionParams> {
 public:
  Arity bottoms() const override { return {1, 4}; }
  Arity tops() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override {
    if (cached()) return false;
    return bottom + 1 < num_bottoms() || num_bottoms() % 2 == 1;
  }
  bool adds_to_diff() const override { return true; }
  DTypes dtypes() const override { return DTypes::kBFloat16; }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const auto& p = params_of();
    channels_ = Sequences("its query", *bottom[0]).channels;
    const int64_t size = head_size(channels_, p.num_heads, "its query");
    check(p.rotary_base >= 0, "rotary_base must not be negative, got ", p.rotary_base);
    check(!rotary() || size % 2 == 0, "rotary positions turn pairs, but its heads have ", size,
          " channels: ", channels_, " of ", p.num_heads, " heads");
    AddParam({3 * channels_, channels_}, &p.weight_filler);
    if (p.bias_term) AddParam({3 * channels_}, &p.bias_filler);
    AddParam({channels_, channels_}, &p.weight_filler);
    if (p.bias_term) AddParam({channels_}, &p.bias_filler);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Sequences q = Checked("its query", *bottom[0], -1);
    batch_ = q.batch;
    if (cached()) return ReshapeCached(q.steps, bottom, top);
    int64_t keys = q.steps;
    if (num_bottoms() > 2) {
      keys = Checked("its key", *bottom[1], batch_).steps;
      check(Checked("its value", *bottom[2], batch_).steps == keys,
            "its key and value must have as many steps, but are ", shape_text(bottom[1]->shape()),
            " and ", shape_text(bottom[2]->shape()));
    }
    check(!rotary() || together(bottom), "rotary positions are those of one sequence, but its ",
          "query, key and value are not one blob");
    const int64_t q_stride = together(bottom) ? 3 * channels_ : channels_;
    const int64_t k_stride = together(bottom) ? 3 * channels_ : 2 * channels_;
    core_.Reshape(ShapeOf(q.steps, keys, q_stride, k_stride, keys), mask_of(bottom));
    projected_q_.Reshape({batch_, q.steps, q_stride});
    if (!together(bottom)) projected_kv_.Reshape({batch_, keys, k_stride});
    attended_.Reshape({batch_, q.steps, channels_});
    top[0]->Reshape({batch_, q.steps, channels_});
    if (top.size() > 1) top[1]->Reshape(core_.weights_shape());
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    Project(bottom);
    const int64_t first = cached() ? places_->First({bottom[0], bottom[2]}) : 0;
    if (rotary()) Turn(first, false, projected_q_.update_data(format()));
    if (cached()) {
      AttendCached(first, bottom, top);
    } else {
      const auto x = Projected(bottom, projected_q_.data(format()), projected_kv_.data(format()));
      core_.Forward(x, mask_of(bottom), attended_.mutable_data(format()));
      if (top.size() > 1) core_.Weights(x.q, x.k, top[1]->mutable_data());
    }
    out_.Forward(OutProjection(), attended_.data(format()), out_weights(),
                 out_bias() ? out_bias()->data() : nullptr,
                 top[0]->mutable_data(format_for(*top[0])));
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    check(!cached(), "expose_cache is for nets that do not learn: leave it out to train");
    BackwardOut(top[0]->diff(format()));
    const Array dq = projected_q_.mutable_diff(format());
    const Array dkv = together(bottom) ? Array() : projected_kv_.mutable_diff(format());
    core_.Backward(Projected(bottom, projected_q_.data(format()), projected_kv_.data(format())),
                   attended_.data(format()), attended_.diff(format()), Projected(bottom, dq, dkv));
    if (rotary()) Turn(0, true, dq);
    BackwardIn(down, bottom, dq, dkv);
  }

  double flops(const Blobs&, const Blobs&) const override {
    const auto& s = core_.shape();
    const auto rows = static_cast<double>(batch_ * 2 * (s.queries + s.keys));
    return core_.flops() + 2.0 * rows * static_cast<double>(channels_ * channels_);
  }

 private:
  // A bottom and what of the weights it meets.
  struct In {
    int index;
    Blob* bottom;
    Projection projection;
    bool of_query;   // the result lies in projected_q_, else in projected_kv_
    int64_t offset;  // there

    Array from(Array q, Array kv) const { return (of_query ? q : kv).from(offset); }
  };

  int num_bottoms() const { return static_cast<int>(spec().bottom.size()); }
  bool cached() const { return params_of().expose_cache; }
  bool rotary() const { return params_of().rotary_base > 0; }
  bool together(const Blobs& bottom) const {
    return bottom.size() <= 2 || cached() || (bottom[0] == bottom[1] && bottom[1] == bottom[2]);
  }
  Blob* in_bias() const { return params_of().bias_term ? params()[1].get() : nullptr; }
  Blob* out_bias() const { return params_of().bias_term ? params()[3].get() : nullptr; }
  size_t out_index() const { return params_of().bias_term ? 2 : 1; }
  const Blob& out_weights() const { return *params()[out_index()]; }

  kernels::AttentionShape ShapeOf(int64_t queries, int64_t keys, int64_t q_stride, int64_t k_stride,
                                  int64_t key_rows) const {
    kernels::AttentionShape s{};
    s.batch = batch_, s.heads = params_of().num_heads;
    s.queries = queries, s.keys = keys, s.key_rows = key_rows;
    s.size = channels_ / s.heads;
    s.q_stride = q_stride, s.k_stride = s.v_stride = k_stride, s.out_stride = channels_;
    s.causal = params_of().causal;
    s.scale = 1 / std::sqrt(static_cast<float>(s.size));
    return s;
  }

  Sequences Checked(const char* what, const Blob& blob, int64_t batch) const {
    const Sequences s(what, blob, batch);
    check(s.channels == channels_, what, " of shape ", shape_text(blob.shape()), " has ",
          s.channels, " channels, but the layer was set up for ", channels_);
    return s;
  }

  std::vector<In> Projections(const Blobs& bottom) const {
    const auto& s = core_.shape();
    const int64_t c = channels_, queries = batch_ * s.queries, keys = batch_ * s.keys;
    if (together(bottom)) return {{0, bottom[0], {queries, 3 * c, c, 0, 3 * c}, true, 0}};
    const In q{0, bottom[0], {queries, c, c, 0, c}, true, 0};
    if (bottom[1] == bottom[2]) return {q, {1, bottom[1], {keys, 2 * c, c, c, 2 * c}, false, 0}};
    return {q,
            {1, bottom[1], {keys, c, c, c, 2 * c}, false, 0},
            {2, bottom[2], {keys, c, c, 2 * c, 2 * c}, false, c}};
  }
  Projection OutProjection() const {
    return {batch_ * core_.shape().queries, channels_, channels_, 0, channels_};
  }

  template <class A>
  AttentionArrays<A> Projected(const Blobs& bottom, A q, A kv) const {
    if (together(bottom)) return {q, q.from(channels_), q.from(2 * channels_)};
    return {q, kv, kv.from(channels_)};
  }

  void Project(const Blobs& bottom) {
    const Blob& w = *params()[0];
    const float* bias = in_bias() ? in_bias()->data() : nullptr;
    const auto in = Projections(bottom);
    const Array q = projected_q_.mutable_data(format());
    const Array kv = together(bottom) ? Array() : projected_kv_.mutable_data(format());
    for (size_t i = 0; i < in.size(); ++i) {
      in_[i].Forward(in[i].projection, in[i].bottom->data(format()), w, bias, in[i].from(q, kv));
    }
  }

  // In place the queries and keys of x (N, T, 3 E), whose first step is at place `first`.
  void Turn(int64_t first, bool back, Array x) {
    const auto& p = params_of();
    const kernels::RotaryShape shape{
        batch_,        projected_q_.shape(1), 2 * p.num_heads,      core_.shape().size,
        3 * channels_, 3 * channels_,         !p.rotary_interleaved};
    tables_.Turn(shape, p.rotary_base, first, back, x, x);
  }

  // ---- a sequence in parts ----

  void ReshapeCached(int64_t steps, const Blobs& bottom, const Blobs& top) {
    check(bottom.size() == 3 && top.size() == 2, "with expose_cache the bottoms are x, the cache ",
          "and the place of x's first step, the tops the result and the cache");
    const Sequences cache("its cache", *bottom[1], batch_);
    check(cache.steps > 0 && cache.channels == 2 * channels_, "its cache of shape ",
          shape_text(bottom[1]->shape()),
          " must have room for a step, and keys and values side by side, ", 2 * channels_,
          " channels");
    places_.emplace("the length of its cache", static_cast<int32_t>(cache.steps));
    places_->Reshape({bottom[0], bottom[2]}, steps);
    projected_q_.Reshape({batch_, steps, 3 * channels_});
    attended_.Reshape({batch_, steps, channels_});
    core_.Reshape(ShapeOf(steps, steps, 3 * channels_, 2 * channels_, cache.steps), nullptr);
    top[0]->Reshape({batch_, steps, channels_});
    top[1]->ReshapeLike(*bottom[1]);
  }

  void AttendCached(int64_t first, const Blobs& bottom, const Blobs& top) {
    kernels::AttentionShape s = core_.shape();
    const int64_t row = 2 * channels_;
    const ConstArray before = bottom[1]->data(format()), now = projected_q_.data(format());
    const Array cache = top[1]->mutable_data(format());
    const auto copy_rows = kernels::eltwise_kernels().copy_rows;
    copy_rows(1, bottom[1]->count(), before, 0, cache, 0);
    for (int64_t n = 0; n < batch_; ++n) {
      copy_rows(s.queries, row, now.from(n * s.queries * 3 * channels_ + channels_), 3 * channels_,
                cache.from((n * s.key_rows + first) * row), row);
    }
    s.keys = first + s.queries;
    core_.Reshape(s, nullptr);
    const ConstArray keys = cache;
    core_.Forward({now, keys, keys.from(channels_)}, nullptr, attended_.mutable_data(format()));
  }

  // ---- backward ----

  void BackwardOut(ConstArray dy) {
    const Projection out = OutProjection();
    if (param_propagate(out_index())) {
      out.Gradient(dy, attended_.data(format()), params()[out_index()]->accumulate_diff());
    }
    if (out_bias() && param_propagate(3)) {
      kernels::column_sums_kernels().add(out.m, out.n, dy, out_bias()->update_diff());
    }
    out.PropagateDown(dy, out_weights(), false, attended_.mutable_diff(format()));
  }

  void BackwardIn(const Propagates& down, const Blobs& bottom, Array dq, Array dkv) {
    const std::vector<In> in = Projections(bottom);
    if (param_propagate(0)) {
      const Blob::Sum dw = params()[0]->accumulate_diff();
      for (const In& i : in) {
        i.projection.Gradient(i.from(dq, dkv), i.bottom->data(format()), dw);
      }
    }
    if (in_bias() && param_propagate(1)) {
      const auto& sums = kernels::column_sums_kernels();
      const int64_t q_columns = projected_q_.shape(2);
      float* dbias = in_bias()->update_diff();
      sums.add(batch_ * core_.shape().queries, q_columns, dq, dbias);
      if (dkv) sums.add(batch_ * core_.shape().keys, 2 * channels_, dkv, dbias + q_columns);
    }
    for (const In& i : in) {
      const Propagate how = down[i.index];  // of several bottoms that are one blob the first
      if (how == Propagate::kNo) continue;
      const Format to = format_for(*i.bottom);
      const bool add = how == Propagate::kAdd;
      i.projection.PropagateDown(i.from(dq, dkv), *params()[0], add,
                                 add ? i.bottom->update_diff(to) : i.bottom->mutable_diff(to));
    }
  }

  int64_t channels_ = 0, batch_ = 0;  // E, N
  AttentionCore core_;
  std::optional<Places> places_;
  RotaryTables tables_;
  Blob projected_q_, projected_kv_, attended_;
  PackedProjection in_[3], out_;
};

PYDL_REGISTER_LAYER(
    "MultiHeadAttention", MultiHeadAttention,
    "Attention between learned projections of sequences x steps x channels. The bottoms are query, "
    "key and value, or one that is all three; then perhaps a mask as for Attention. Its blobs are "
    "those of torch.nn.MultiheadAttention: in_proj_weight, in_proj_bias, out_proj.weight, "
    "out_proj.bias. A second top holds the weights, sequences x heads x queries x keys; it passes "
    "no gradient. With expose_cache the bottoms are x, a cache (sequences x most steps x 2 "
    "channels) of the keys and values of earlier steps, and the place of x's first step, one "
    "value; the second top is the cache with those of x, for the next pass. Such a net does not "
    "learn.");

}  // namespace pydl
