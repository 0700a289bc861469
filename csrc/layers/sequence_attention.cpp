// Attention between sequences of recurrent nets: Bahdanau et al. 2015 (arXiv:1409.0473) and Luong
// et al. 2015 (arXiv:1508.04025).

#include <algorithm>

#include "core/check.h"
#include "kernels/additive_scores.h"
#include "kernels/column_sums.h"
#include "kernels/eltwise.h"
#include "kernels/gemm.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/softmax.h"
#include "pydl/filler.h"
#include "pydl/layer.h"

namespace pydl {

namespace {

enum class Score { kAdditive = 0, kDot = 1, kGeneral = 2 };
constexpr std::array<EnumName, 3> enum_names(Score) {
  return {{{"ADDITIVE", 0}, {"DOT", 1}, {"GENERAL", 2}}};
}

struct SequenceAttentionParams {
  Score score = Score::kAdditive;
  int32_t num_hidden = 0;
  FillerParams weight_filler{.type = "xavier"};

  static auto fields() {
    using P = SequenceAttentionParams;
    return Fields(
        "sequence_attention_param",
        Field("score", &P::score,
              "ADDITIVE: v . tanh(W_q q + W_k k), Bahdanau's, which is also Luong's "
              "concat; DOT: q . k; GENERAL: q . W k"),
        Field("num_hidden", &P::num_hidden, "size of what ADDITIVE compares; that of a query if 0"),
        Field("weight_filler", &P::weight_filler, "start values of the weights; xavier if absent"));
  }
};

// An array (steps, N, size): a matrix (steps, size) of each sequence.
struct Matrices {
  const float* data;
  int64_t size;
};

}  // namespace

// bottoms: query (T_q, N, C_q) and memory (T_k, N, C), or with a fourth bottom query, key
//          (T_k, N, C_k) and value (T_k, N, C); then the mask, or nothing behind query and memory.
//          It is (T_k, N), 0 where there is nothing to attend to, or the lengths (N) of the keys.
// tops:    context (T_q, N, C); the weights (T_q, N, T_k)
// params:  ADDITIVE: W_q (A, C_q), W_k (A, C_k), v (1, A); GENERAL: W (C_q, C_k)
//
// Where all is masked, weights and context are 0.
class SequenceAttention final : public LayerOf<SequenceAttentionParams> {
 public:
  Arity bottoms() const override { return {2, 4}; }
  Arity tops() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override {
    return bottom < 2 || (bottom == 2 && spec().bottom.size() == 4);
  }

  void SetUp(const Blobs& bottom, const Blobs&) override {
    const auto& p = params_of();
    CheckAxes(bottom);
    query_size_ = bottom[0]->count(2), key_size_ = bottom[1]->count(2);
    check(p.num_hidden >= 0, "sequence_attention_param.num_hidden must not be negative, got ",
          p.num_hidden);
    check(p.score != Score::kDot || query_size_ == key_size_, "score DOT multiplies queries of ",
          query_size_, " values with keys of ", key_size_, "; use GENERAL or ADDITIVE");
    hidden_ = p.score != Score::kAdditive ? key_size_ : p.num_hidden ? p.num_hidden : query_size_;
    if (p.score == Score::kAdditive) {
      AddParam({hidden_, query_size_}, &p.weight_filler);
      AddParam({hidden_, key_size_}, &p.weight_filler);
      AddParam({1, hidden_}, &p.weight_filler);
    } else if (p.score == Score::kGeneral) {
      AddParam({query_size_, key_size_}, &p.weight_filler);
    }
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    CheckAxes(bottom);
    const Blob &q = *bottom[0], &k = *bottom[1], &v = *bottom[ValueOf(bottom)];
    queries_ = q.shape(0), keys_ = k.shape(0), batch_ = q.shape(1), value_size_ = v.count(2);
    check(k.shape(1) == batch_ && v.shape(1) == batch_ && v.shape(0) == keys_,
          "needs as many sequences in all bottoms and a value for each key, got query ",
          shape_text(q.shape()), ", key ", shape_text(k.shape()), ", value ",
          shape_text(v.shape()));
    check(q.count(2) == query_size_ && k.count(2) == key_size_, "was set up for queries of ",
          query_size_, " values and keys of ", key_size_, ", but they are ", shape_text(q.shape()),
          " and ", shape_text(k.shape()));
    top[0]->Reshape({queries_, batch_, value_size_});
    weights_.Reshape({queries_, batch_, keys_});
    if (top.size() > 1) top[1]->ReshapeLike(weights_);
    if (!has_mask()) return;
    const Shape mask = bottom.back()->shape();
    check(mask == Shape{keys_, batch_} || mask == Shape{batch_}, "its mask must be ", keys_, "x",
          batch_, " for ", keys_, " keys of ", batch_, " sequences, or their ", batch_,
          " lengths, but is ", shape_text(mask));
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    float* w = weights_.mutable_data();
    Scores(bottom, w);
    Normalize(bottom, w);
    MultiplyEach({queries_, value_size_, keys_}, {w, keys_},
                 {bottom[ValueOf(bottom)]->data(), value_size_}, top[0]->mutable_data());
    if (top.size() > 1) std::copy_n(w, weights_.count(), top[1]->mutable_data());
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    const float *w = weights_.data(), *dy = top[0]->diff();
    const int value = ValueOf(bottom);
    kernels::GemmShape of_weights{queries_, keys_, value_size_};
    of_weights.trans_b = true;
    const kernels::Scratch scratch(weights_.count());
    float* ds = scratch.data();
    MultiplyEach(of_weights, {dy, value_size_}, {bottom[value]->data(), value_size_}, ds);
    const auto& eltwise = kernels::eltwise_kernels();
    if (top.size() > 1) eltwise.add(weights_.count(), ds, top[1]->diff(), ds);
    if (weights_.count() > 0) kernels::softmax_kernels().backward(rows(), w, ds, ds);
    if (down[value] != Propagate::kNo) {
      kernels::GemmShape of_value{keys_, value_size_, queries_};
      of_value.trans_a = true;
      MultiplyEach(of_value, {w, keys_}, {dy, value_size_}, bottom[value]->mutable_diff());
    }
    // The memory is key and value: its gradient has two parts.
    const float beta = value == 1 ? 1 : 0;
    float* dq = down[0] == Propagate::kNo ? nullptr : bottom[0]->mutable_diff();
    float* dk = down[1] == Propagate::kNo ? nullptr
                : beta == 1               ? bottom[1]->update_diff()
                                          : bottom[1]->mutable_diff();
    if (params_of().score == Score::kAdditive) {
      AdditiveBackward(bottom, ds, dq, dk, beta);
    } else {
      ProductBackward(bottom, ds, dq, dk, beta);
    }
  }

  double flops(const Blobs&, const Blobs&) const override {
    const auto pairs = static_cast<double>(queries_ * keys_ * batch_);
    const auto each = static_cast<double>(hidden_ + value_size_);
    const bool of_query = params_of().score != Score::kDot;
    const bool of_key = params_of().score == Score::kAdditive;
    const auto steps =
        static_cast<double>(queries_ * query_size_ * of_query + keys_ * key_size_ * of_key);
    return 2.0 * (pairs * each + steps * static_cast<double>(batch_ * hidden_));
  }

 private:
  bool has_mask() const { return spec().bottom.size() > 2; }
  static int ValueOf(const Blobs& bottom) { return bottom.size() == 4 ? 2 : 1; }
  kernels::SoftmaxShape rows() const { return {queries_ * batch_, keys_, 1}; }
  kernels::AdditiveScoresShape additive() const { return {queries_, keys_, batch_, hidden_}; }

  void CheckAxes(const Blobs& bottom) const {
    for (int i = 0; i <= ValueOf(bottom); ++i) {
      check(bottom[i]->axes() >= 3,
            "its query, key and value must have the axes steps, sequences and values, but bottom ",
            i, " is ", shape_text(bottom[i]->shape()));
    }
  }

  // c (m, n) = a b + beta c, in the shape's sense, of each sequence.
  void MultiplyEach(kernels::GemmShape shape, Matrices a, Matrices b, float* c) const {
    shape.lda = batch_ * a.size, shape.ldb = batch_ * b.size, shape.ldc = batch_ * shape.n;
    constexpr int64_t kWorth = 100'000;  // multiply-adds for a thread
    const int64_t grain = kWorth / std::max<int64_t>(shape.m * shape.n * shape.k, 1) + 1;
    kernels::parallel_for(batch_, grain, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        kernels::gemm_kernels().gemm(shape, a.data + n * a.size, b.data + n * b.size, {},
                                     c + n * shape.n);
      }
    });
  }

  // y (steps N, outputs) = x (steps N, inputs) op(W)
  static void Project(int64_t rows, int64_t outputs, int64_t inputs, bool trans_b, const float* x,
                      const Blob& w, float beta, float* y) {
    kernels::GemmShape shape{rows, outputs, inputs};
    shape.trans_b = trans_b;
    shape.beta = beta;
    kernels::gemm_kernels().gemm(shape, x, w.data(), {}, y);
  }

  // dW (m, n) += a^T b, a: (rows, m), b: (rows, n)
  void AddGradient(size_t param, int64_t rows, const float* a, const float* b) {
    if (!param_propagate(param)) return;
    const Shape w = params()[param]->shape();
    kernels::GemmShape shape{w[0], w[1], rows};
    shape.trans_a = true;
    const Blob::Sum dw = params()[param]->accumulate_diff();
    shape.beta = dw.add ? 1 : 0;
    kernels::gemm_kernels().gemm(shape, a, b, {}, dw.data);
  }

  void Scores(const Blobs& bottom, float* scores) {
    const float *q = bottom[0]->data(), *k = bottom[1]->data();
    const Score score = params_of().score;
    const int64_t rows_q = queries_ * batch_, rows_k = keys_ * batch_;
    if (score == Score::kAdditive) {
      of_query_.Reshape({queries_, batch_, hidden_});
      of_key_.Reshape({keys_, batch_, hidden_});
      float *hidden_q = of_query_.mutable_data(), *hidden_k = of_key_.mutable_data();
      Project(rows_q, hidden_, query_size_, true, q, *params()[0], 0, hidden_q);
      Project(rows_k, hidden_, key_size_, true, k, *params()[1], 0, hidden_k);
      return kernels::additive_score_kernels().forward(additive(), hidden_q, hidden_k,
                                                       params()[2]->data(), scores);
    }
    if (score == Score::kGeneral) {
      of_query_.Reshape({queries_, batch_, hidden_});
      Project(rows_q, hidden_, query_size_, false, q, *params()[0], 0, of_query_.mutable_data());
      q = of_query_.data();
    }
    kernels::GemmShape shape{queries_, keys_, key_size_};
    shape.trans_b = true;
    MultiplyEach(shape, {q, key_size_}, {k, key_size_}, scores);
  }

  // Softmax over the keys that are not masked.
  void Normalize(const Blobs& bottom, float* w) {
    if (weights_.count() == 0) return;
    const int64_t size = batch_ * keys_;
    const auto& eltwise = kernels::eltwise_kernels();
    if (has_mask()) ReadMask(*bottom.back());
    for (int64_t i = 0; has_mask() && i < queries_; ++i) {
      eltwise.add(size, w + i * size, excluded_.data(), w + i * size);
    }
    kernels::softmax_kernels().forward(rows(), w, w);
    for (int64_t i = 0; has_mask() && i < queries_; ++i) {
      eltwise.mul(size, w + i * size, taken_.data(), w + i * size);
    }
  }

  // taken_ (N, T_k): 1, or 0 where the mask is; excluded_: 0, or what no score comes up to.
  void ReadMask(const Blob& mask) {
    constexpr float kNever = -1e30f;
    taken_.Reshape({batch_, keys_});
    excluded_.Reshape({batch_, keys_});
    float *taken = taken_.mutable_data(), *excluded = excluded_.mutable_data();
    const float* given = mask.data();
    const bool lengths = mask.axes() == 1;
    for (int64_t n = 0; n < batch_; ++n) {
      const float length = lengths ? given[n] : 0;
      check(!lengths || (length >= 0 && length <= static_cast<float>(keys_)), "sequence ", n,
            " has length ", length, ", but there are ", keys_, " keys");
      for (int64_t j = 0; j < keys_; ++j) {
        const bool on = lengths ? static_cast<float>(j) < length : given[j * batch_ + n] != 0;
        taken[n * keys_ + j] = on ? 1 : 0;
        excluded[n * keys_ + j] = on ? 0 : kNever;
      }
    }
  }

  // dk is added to where beta is 1; dq and dk may be null.
  void ProductBackward(const Blobs& bottom, const float* ds, float* dq, float* dk, float beta) {
    const bool general = params_of().score == Score::kGeneral;
    const float* q = general ? of_query_.data() : bottom[0]->data();
    if (dk) {
      kernels::GemmShape shape{keys_, key_size_, queries_};
      shape.trans_a = true;
      shape.beta = beta;
      MultiplyEach(shape, {ds, keys_}, {q, key_size_}, dk);
    }
    const kernels::Scratch scratch(general ? of_query_.count() : 0);
    float* of_query = general ? scratch.data() : dq;
    if (!of_query) return;
    MultiplyEach({queries_, key_size_, keys_}, {ds, keys_}, {bottom[1]->data(), key_size_},
                 of_query);
    if (!general) return;
    const int64_t rows = queries_ * batch_;
    AddGradient(0, rows, bottom[0]->data(), of_query);
    if (dq) Project(rows, query_size_, key_size_, true, of_query, *params()[0], 0, dq);
  }

  void AdditiveBackward(const Blobs& bottom, const float* ds, float* dq, float* dk, float beta) {
    const kernels::Scratch of_query(of_query_.count()), of_key(of_key_.count()),
        of_v(batch_ * hidden_);
    kernels::additive_score_kernels().backward(additive(), of_query_.data(), of_key_.data(),
                                               params()[2]->data(), ds, of_query.data(),
                                               of_key.data(), of_v.data());
    const int64_t rows_q = queries_ * batch_, rows_k = keys_ * batch_;
    AddGradient(0, rows_q, of_query.data(), bottom[0]->data());
    AddGradient(1, rows_k, of_key.data(), bottom[1]->data());
    if (param_propagate(2)) {
      kernels::column_sums_kernels().add(batch_, hidden_, of_v.data(), params()[2]->update_diff());
    }
    if (dq) Project(rows_q, query_size_, hidden_, false, of_query.data(), *params()[0], 0, dq);
    if (dk) Project(rows_k, key_size_, hidden_, false, of_key.data(), *params()[1], beta, dk);
  }

  int64_t queries_ = 0, keys_ = 0, batch_ = 0;                           // T_q, T_k, N
  int64_t query_size_ = 0, key_size_ = 0, value_size_ = 0, hidden_ = 0;  // hidden: of scores
  Blob weights_;                                                         // (T_q, N, T_k)
  Blob of_query_, of_key_;  // what the scores compare, where that is no bottom
  Blob taken_, excluded_;   // (N, T_k)
};

PYDL_REGISTER_LAYER(
    "SequenceAttention", SequenceAttention,
    "Attention for recurrent nets: for each step of the first bottom, the query (steps, sequences, "
    "values), the mean of the second, the memory, weighted by a softmax of scores (Bahdanau et al. "
    "2015, Luong et al. 2015). A third bottom masks steps of the memory (steps, sequences) or is "
    "the length of each of its sequences; with a fourth they are query, key, value and mask. A "
    "second top has the weights.");

}  // namespace pydl
