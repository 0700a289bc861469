// Attention (attention.h) as products of the micro-kernel. Keys and values are packed once for each
// head; tiles of scores stay in the caches.
//
//   forward:  for head: for tile of queries: for block of keys: scores, running softmax, out += p v
//   backward: for head: for block of keys: for tile of queries: p and dp again, three gradients
#include "kernels/attention.h"

#include <cstring>

#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

extern const AttentionKernels attention;

namespace {

// A tile of scores: kQueries x kKeys, 50 to 60 KiB.
constexpr int64_t kQueries = round_up(56, kMR), kKeys = 256;
static_assert(kKeys % kNR == 0);

// ---- products ----

// C (rows, columns) = beta C + A (rows, k) B, or A^T for TileA::kColumns. B: panels that begin
// `depth` steps for each column apart, at least k of them.
template <TileA kA>
void multiply(int64_t rows, int64_t columns, int64_t k, const float* a, int64_t a_stride,
              const float* panels, int64_t depth, float beta, float* c, int64_t ldc) {
  const int tiles = static_cast<int>(ceil_div(rows, kMR));
  TileArgs t;
  t.k = k;
  t.a_stride = a_stride;
  t.ldc = ldc;
  t.beta = beta;
  for (int64_t j = 0; j < columns; j += kNR) {
    t.columns = smaller(kNR, columns - j);
    t.b = panels + j * depth;
    for (int i = 0; i < tiles; ++i) {
      const Range r = part_of(rows, i, tiles);
      t.a = a + (kA == TileA::kRows ? r.begin * a_stride : r.begin);
      t.c = c + r.begin * ldc + j;
      run_tile<kA>(r.end - r.begin, t);
    }
  }
}

// op(B) (k, n) in panels.
void pack(const Operand& b, int64_t k, int64_t n, float* out) {
  for (int64_t j = 0; j < n; j += kNR) pack_panel(b, 0, k, j, smaller(kNR, n - j), out + j * k);
}

// ---- heads ----

// Rows of D values of one head.
template <class A>
struct HeadOf {
  A x;
  int64_t stride;

  HeadOf from(int64_t row) const { return {at(x, row * stride), stride}; }
  Operand operand(bool transposed) const { return {x, stride, transposed}; }
};

template <class A>
HeadOf<A> head_of(A x, int64_t n, int64_t h, int64_t rows, int64_t stride, int64_t size) {
  return {x ? at(x, n * rows * stride + h * size) : x, stride};
}

// to (rows, size) = factor from
void read_rows(const HeadOf<ConstArray>& from, int64_t rows, int64_t size, float factor,
               float* to) {
  with_type(from.x, [=](const auto* x) PYDL_FLATTEN {
    for (int64_t r = 0; r < rows; ++r) {
      for_each_vector(0, size, [=](int64_t i, int64_t lanes) {
        store_some(to + r * size + i, factor * load_some(x + r * from.stride + i, lanes), lanes);
      });
    }
  });
}

// Rows of `to`, factor(row) times those of `from`.
template <class Factor>
void write_rows(const float* from, int64_t ld, int64_t rows, int64_t size, const Factor& factor,
                const HeadOf<Array>& to) {
  with_type(to.x, [&](auto* y) PYDL_FLATTEN {
    for (int64_t r = 0; r < rows; ++r) {
      const float by = factor(r);
      for_each_vector(0, size, [&](int64_t i, int64_t lanes) {
        store_some(y + r * to.stride + i, by * load_some(from + r * ld + i, lanes), lanes);
      });
    }
  });
}

// ---- masks ----

// The keys of an item of the batch that may take part: the first `count`, and of those only the
// ones whose bias is 0, not -infinity; without a bias all.
struct Keys {
  int64_t count;
  const float* bias;
};

// bias: room for round_up(keys, kLanes) floats.
Keys keys_of(const AttentionShape& s, const float* mask, int64_t n, float* bias) {
  if (!mask) return {s.keys, nullptr};
  mask += n * s.keys;
  int64_t count = s.keys, holes = 0;
  while (count > 0 && mask[count - 1] == 0) --count;
  for (int64_t j = 0; j < count; ++j) {
    holes += mask[j] == 0;
    bias[j] = mask[j] == 0 ? -kInfinity : 0;
  }
  for (int64_t j = count; j < round_up(count, kLanes); ++j) bias[j] = 0;
  return {count, holes ? bias : nullptr};
}

// How many keys query i sees, masks aside.
int64_t seen(const AttentionShape& s, int64_t i, int64_t count) {
  return s.causal ? larger(0, smaller(count, i + 1 + s.keys - s.queries)) : count;
}

// Which of a block of keys from `begin` on a tile of queries up to `last` needs: whole panels.
int64_t block_columns(const AttentionShape& s, int64_t begin, int64_t last, int64_t count) {
  const int64_t all = smaller(kKeys, count - begin);
  return larger(0, smaller(all, round_up(larger(0, seen(s, last, count) - begin), kNR)));
}

// Scores of keys that the query does not see become -infinity, up to whole vectors.
PYDL_INLINE void mask_row(float* row, int64_t visible, int64_t columns, const float* bias) {
  const int64_t whole = round_up(columns, kLanes);
  for (int64_t j = larger(0, visible); j < whole; ++j) row[j] = -kInfinity;
  if (!bias) return;
  for (int64_t j = 0; j < whole; j += kLanes) store(row + j, load(row + j) + load(bias + j));
}

// ---- running softmax ----

// Of a row: the largest score so far, and the sum of exp(score - largest).
struct Softmax {
  float most = -kInfinity, sum = 0;

  // The row's scores become exp(score - largest). The result is what earlier values of the row,
  // which were relative to a smaller score, are to be multiplied with.
  PYDL_INLINE float add(float* row, int64_t columns) {
    const int64_t whole = round_up(columns, kLanes);
    Vec top[2] = {broadcast(most), broadcast(most)};
    int64_t j = 0;
    for (; j + 2 * kLanes <= whole; j += 2 * kLanes) {
      top[0] = max(load(row + j), top[0]);
      top[1] = max(load(row + j + kLanes), top[1]);
    }
    if (j < whole) top[0] = max(load(row + j), top[0]);
    const float now = max(max(top[0], top[1]));
    const float base = now == -kInfinity ? 0 : now;
    Vec total{};
    for (j = 0; j < whole; j += kLanes) {
      const Vec p = exp(load(row + j) - base);
      store(row + j, p);
      total += p;
    }
    const float factor = now == most ? 1 : exp(broadcast(most - base))[0];
    most = now;
    this->sum = this->sum * factor + PYDL_ISA::sum(total);
    return factor;
  }

  float normalizer() const { return sum == 0 ? 0 : 1 / sum; }
  float log_sum() const { return sum == 0 ? kInfinity : most + __builtin_logf(sum); }
};

void scale_row(float* row, int64_t size, float factor) {
  for (int64_t i = 0; i < size; i += kLanes) store(row + i, factor * load(row + i));
}

// ---- threads ----

int threads_for(const AttentionShape& s) {
  const double work = static_cast<double>(s.batch * s.heads) * s.queries * s.keys * s.size;
  return work < kParallelWork ? 1 : num_threads();
}

// Takes scratch apart.
class Cut {
 public:
  explicit Cut(float* memory) : next_(memory) {}
  float* take(int64_t floats) {
    float* taken = next_;
    next_ += aligned_size(floats);
    return taken;
  }

 private:
  float* next_;
};

// ---- forward ----

class Forward {
 public:
  Forward(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v, const float* mask)
      : s_(s), q_(q), k_(k), v_(v), mask_(mask), row_(round_up(s.size, kNR)) {}

  int64_t scratch_size() const {
    const int64_t sizes[] = {s_.keys * row_ + kNR * s_.size,
                             s_.keys * row_,
                             s_.keys + kLanes,
                             kQueries * s_.size,
                             kQueries * kKeys,
                             kQueries * row_};
    int64_t total = 0;
    for (int64_t size : sizes) total += aligned_size(size);
    return total;
  }

  // Items, of a thread: tiles of queries, head by head.
  void run(Range items, float* scratch, Array out, float* lse) {
    Cut cut(scratch);
    packed_k_ = cut.take(s_.keys * row_ + kNR * s_.size);
    packed_v_ = cut.take(s_.keys * row_);
    bias_ = cut.take(s_.keys + kLanes);
    queries_ = cut.take(kQueries * s_.size);
    scores_ = cut.take(kQueries * kKeys);
    values_ = cut.take(kQueries * row_);
    const int64_t tiles = query_tiles(s_);
    int64_t packed = -1;
    for (int64_t item = items.begin; item < items.end; ++item) {
      const int64_t head = item / tiles, n = head / s_.heads, h = head % s_.heads;
      if (head != packed) pack_head(n, h);
      packed = head;
      const int64_t begin = item % tiles * kQueries;
      const int64_t rows = smaller(kQueries, s_.queries - begin);
      const auto q = head_of(q_, n, h, s_.queries, s_.q_stride, s_.size).from(begin);
      Softmax softmax[kQueries];
      tile(q, begin, rows, softmax);
      write_rows(
          values_, row_, rows, s_.size, [&](int64_t r) { return softmax[r].normalizer(); },
          head_of(out, n, h, s_.queries, s_.out_stride, s_.size).from(begin));
      for (int64_t r = 0; r < rows; ++r) {
        lse[head * s_.queries + begin + r] = softmax[r].log_sum();
      }
    }
  }

  static int64_t query_tiles(const AttentionShape& s) { return ceil_div(s.queries, kQueries); }

 private:
  void pack_head(int64_t n, int64_t h) {
    keys_ = keys_of(s_, mask_, n, bias_);
    pack(head_of(k_, n, h, s_.key_rows, s_.k_stride, s_.size).operand(true), s_.size, keys_.count,
         packed_k_);
    const auto v = head_of(v_, n, h, s_.key_rows, s_.v_stride, s_.size);
    for (int64_t j = 0; j < keys_.count; j += kKeys) {
      pack(v.from(j).operand(false), smaller(kKeys, keys_.count - j), s_.size,
           packed_v_ + j * row_);
    }
  }

  // values (rows, D) = the sum of exp(score - most) v
  void tile(const HeadOf<ConstArray>& q, int64_t first, int64_t rows, Softmax* softmax) {
    read_rows(q, rows, s_.size, s_.scale, queries_);
    float beta = 0;
    for (int64_t j = 0; j < keys_.count; j += kKeys, beta = 1) {
      const int64_t columns = block_columns(s_, j, first + rows - 1, keys_.count);
      if (columns == 0 && j > 0) break;
      multiply<TileA::kRows>(rows, columns, s_.size, queries_, s_.size, packed_k_ + j * s_.size,
                             s_.size, 0, scores_, kKeys);
      for (int64_t r = 0; r < rows; ++r) {
        float* row = scores_ + r * kKeys;
        mask_row(row, smaller(columns, seen(s_, first + r, keys_.count) - j), columns,
                 keys_.bias ? keys_.bias + j : nullptr);
        const float factor = softmax[r].add(row, columns);
        if (j > 0 && factor != 1) scale_row(values_ + r * row_, s_.size, factor);
      }
      multiply<TileA::kRows>(rows, s_.size, columns, scores_, kKeys, packed_v_ + j * row_,
                             smaller(kKeys, keys_.count - j), beta, values_, row_);
    }
    if (keys_.count == 0) std::memset(values_, 0, static_cast<size_t>(rows * row_) * sizeof(float));
  }

  const AttentionShape& s_;
  const ConstArray q_, k_, v_;
  const float* mask_;
  const int64_t row_;  // D in whole panels
  Keys keys_{};
  float *packed_k_, *packed_v_, *bias_, *queries_, *scores_, *values_;
};

// ---- forward of few queries: keys and values are read in place, once for each query ----

constexpr int64_t kFewQueries = 4;

// scores[j] = q k_j for `count` keys.
template <class T>
PYDL_INLINE void score_keys(const float* q, const T* k, int64_t stride, int64_t count, int64_t size,
                            float* scores) {
  for (int64_t j = 0; j < count; ++j, k += stride) {
    Vec total{};
    for_each_vector(0, size, [&](int64_t d, int64_t lanes) {
      total += load_some(q + d, lanes) * load_some(k + d, lanes);
    });
    scores[j] = sum(total);
  }
}

// out = factor * the sum of p_j v_j, four vectors of it at a time.
template <class T>
PYDL_INLINE void add_values(const float* p, const T* v, int64_t stride, int64_t count, int64_t size,
                            float factor, float* out) {
  constexpr int64_t kWidth = 4 * kLanes;
  for (int64_t d = 0; d < size; d += kWidth) {
    Vec total[4] = {};
    for (int64_t j = 0; j < count; ++j) {
      const T* row = v + j * stride + d;
#pragma GCC unroll 4
      for (int64_t i = 0; i < 4; ++i) {
        const int64_t lanes = larger(0, smaller(kLanes, size - d - i * kLanes));
        if (lanes > 0) total[i] += p[j] * load_n(row + i * kLanes, lanes);
      }
    }
    for (int64_t i = 0; i < 4; ++i) store(out + d + i * kLanes, factor * total[i]);
  }
}

void forward_of_few(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v,
                    const float* mask, Array out, float* lse) {
  const int64_t heads = s.batch * s.heads, width = round_up(s.size, 4 * kLanes);
  const int64_t row = aligned_size(s.keys + kLanes), size = 2 * row + 2 * aligned_size(width);
  const int threads = static_cast<int>(larger(1, smaller(threads_for(s), heads)));
  const Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int parts) PYDL_FLATTEN {
    Cut cut(scratch.data() + thread * size);
    float *bias = cut.take(s.keys + kLanes), *scores = cut.take(s.keys + kLanes);
    float *query = cut.take(width), *values = cut.take(width);
    const Range own = part_of(heads, thread, parts);
    for (int64_t head = own.begin; head < own.end; ++head) {
      const int64_t n = head / s.heads, h = head % s.heads;
      const Keys keys = keys_of(s, mask, n, bias);
      const auto of_k = head_of(k, n, h, s.key_rows, s.k_stride, s.size);
      const auto of_v = head_of(v, n, h, s.key_rows, s.v_stride, s.size);
      for (int64_t i = 0; i < s.queries; ++i) {
        const int64_t count = seen(s, i, keys.count);
        read_rows(head_of(q, n, h, s.queries, s.q_stride, s.size).from(i), 1, s.size, s.scale,
                  query);
        with_type(of_k.x,
                  [&](const auto* x) { score_keys(query, x, of_k.stride, count, s.size, scores); });
        mask_row(scores, count, count, keys.bias);
        Softmax softmax;
        softmax.add(scores, count);
        with_type(of_v.x, [&](const auto* x) {
          add_values(scores, x, of_v.stride, count, s.size, softmax.normalizer(), values);
        });
        write_rows(
            values, width, 1, s.size, [](int64_t) { return 1.0f; },
            head_of(out, n, h, s.queries, s.out_stride, s.size).from(i));
        lse[head * s.queries + i] = softmax.log_sum();
      }
    }
  });
}

void forward(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v, const float* mask,
             Array out, float* lse) {
  if (s.queries <= kFewQueries) return forward_of_few(s, q, k, v, mask, out, lse);
  const int64_t items = s.batch * s.heads * Forward::query_tiles(s);
  const int threads = static_cast<int>(larger(1, smaller(threads_for(s), items)));
  const int64_t size = Forward(s, q, k, v, mask).scratch_size();
  const Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int parts) {
    Forward(s, q, k, v, mask)
        .run(part_of(items, thread, parts), scratch.data() + thread * size, out, lse);
  });
}

// ---- backward ----

class Backward {
 public:
  Backward(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v, const float* mask,
           ConstArray out, const float* lse, ConstArray dout)
      : s_(s),
        q_(q),
        k_(k),
        v_(v),
        out_(out),
        dout_(dout),
        mask_(mask),
        lse_(lse),
        row_(round_up(s.size, kNR)) {}

  int64_t scratch_size() const {
    const int64_t tile = aligned_size(kQueries * row_), block = aligned_size(kKeys * row_);
    return aligned_size(s_.keys + kLanes) + 2 * aligned_size(kKeys * s_.size) + 3 * block +
           4 * tile + aligned_size(s_.queries * row_) + aligned_size(s_.queries) +
           2 * aligned_size(kQueries * kKeys);
  }

  // One head after the other.
  void run(Range heads, float* scratch, Array dq, Array dk, Array dv) {
    Cut cut(scratch);
    bias_ = cut.take(s_.keys + kLanes);
    k_columns_ = cut.take(kKeys * s_.size);
    v_columns_ = cut.take(kKeys * s_.size);
    for (float** block : {&k_rows_, &dk_, &dv_}) *block = cut.take(kKeys * row_);
    for (float** tile : {&queries_, &q_panels_, &gradients_, &g_panels_}) {
      *tile = cut.take(kQueries * row_);
    }
    dq_ = cut.take(s_.queries * row_);
    delta_ = cut.take(s_.queries);
    p_ = cut.take(kQueries * kKeys);
    ds_ = cut.take(kQueries * kKeys);
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      const int64_t n = head / s_.heads, h = head % s_.heads;
      const auto of = [=, this](auto x, int64_t rows, int64_t stride) {
        return head_of(x, n, h, rows, stride, s_.size);
      };
      run_head(of(q_, s_.queries, s_.q_stride), of(k_, s_.key_rows, s_.k_stride),
               of(v_, s_.key_rows, s_.v_stride), of(out_, s_.queries, s_.out_stride),
               of(dout_, s_.queries, s_.out_stride), keys_of(s_, mask_, n, bias_),
               lse_ + head * s_.queries, of(dq, s_.queries, s_.q_stride),
               of(dk, s_.key_rows, s_.k_stride), of(dv, s_.key_rows, s_.v_stride));
    }
  }

 private:
  using In = HeadOf<ConstArray>;
  using Out = HeadOf<Array>;

  void run_head(const In& q, const In& k, const In& v, const In& out, const In& dout,
                const Keys& keys, const float* lse, const Out& dq, const Out& dk, const Out& dv) {
    compute_delta(out, dout);
    clear(dq_, s_.queries);
    const auto one = [](int64_t) { return 1.0f; };
    for (int64_t j = 0; j < s_.keys; j += kKeys) {
      clear(dk_, kKeys);
      clear(dv_, kKeys);
      if (j < keys.count) key_block(q, k.from(j), v.from(j), dout, keys, j, lse);
      const int64_t rows = smaller(kKeys, s_.keys - j);
      if (dk.x) write_rows(dk_, row_, rows, s_.size, one, dk.from(j));
      if (dv.x) write_rows(dv_, row_, rows, s_.size, one, dv.from(j));
    }
    if (!dq.x) return;
    write_rows(dq_, row_, s_.queries, s_.size, [this](int64_t) { return s_.scale; }, dq);
  }

  // The queries are scaled, so that dk is complete; dq is not.
  void key_block(const In& q, const In& k, const In& v, const In& dout, const Keys& keys,
                 int64_t begin, const float* lse) {
    const int64_t block = smaller(kKeys, keys.count - begin);
    pack(k.operand(true), s_.size, block, k_columns_);
    pack(v.operand(true), s_.size, block, v_columns_);
    pack(k.operand(false), block, s_.size, k_rows_);
    for (int64_t i = 0; i < s_.queries; i += kQueries) {
      const int64_t rows = smaller(kQueries, s_.queries - i);
      const int64_t columns = block_columns(s_, begin, i + rows - 1, keys.count);
      if (columns == 0) continue;
      read_rows(q.from(i), rows, s_.size, s_.scale, queries_);
      read_rows(dout.from(i), rows, s_.size, 1, gradients_);
      pack({ConstArray(queries_), s_.size, false}, rows, s_.size, q_panels_);
      pack({ConstArray(gradients_), s_.size, false}, rows, s_.size, g_panels_);
      multiply<TileA::kRows>(rows, columns, s_.size, queries_, s_.size, k_columns_, s_.size, 0, p_,
                             kKeys);
      multiply<TileA::kRows>(rows, columns, s_.size, gradients_, s_.size, v_columns_, s_.size, 0,
                             ds_, kKeys);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t visible = smaller(columns, seen(s_, i + r, keys.count) - begin);
        mask_row(p_ + r * kKeys, visible, columns, keys.bias ? keys.bias + begin : nullptr);
        gradient_row(p_ + r * kKeys, ds_ + r * kKeys, columns, lse[i + r], delta_[i + r]);
      }
      multiply<TileA::kColumns>(columns, s_.size, rows, p_, kKeys, g_panels_, rows, 1, dv_, row_);
      multiply<TileA::kColumns>(columns, s_.size, rows, ds_, kKeys, q_panels_, rows, 1, dk_, row_);
      multiply<TileA::kRows>(rows, s_.size, columns, ds_, kKeys, k_rows_, block, 1, dq_ + i * row_,
                             row_);
    }
  }

  // p = exp(score - lse), ds = p (dp - delta)
  PYDL_INLINE static void gradient_row(float* p, float* ds, int64_t columns, float lse,
                                       float delta) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const Vec weight = exp(load(p + j) - lse);
      store(p + j, weight);
      store(ds + j, weight * (load(ds + j) - delta));
    }
  }

  // delta = the sum of dout out, which is that of p dp.
  void compute_delta(const In& out, const In& dout) {
    for (int64_t i = 0; i < s_.queries; ++i) {
      Vec total{};
      for (int64_t d = 0; d < s_.size; d += kLanes) {
        const int64_t lanes = smaller(kLanes, s_.size - d);
        total +=
            load_n(out.x, i * out.stride + d, lanes) * load_n(dout.x, i * dout.stride + d, lanes);
      }
      delta_[i] = sum(total);
    }
  }

  void clear(float* x, int64_t rows) const {
    std::memset(x, 0, static_cast<size_t>(rows * row_) * sizeof(float));
  }

  const AttentionShape& s_;
  const ConstArray q_, k_, v_, out_, dout_;
  const float *mask_, *lse_;
  const int64_t row_;  // D in whole panels
  float *bias_, *k_columns_, *v_columns_, *k_rows_, *dk_, *dv_, *queries_, *q_panels_, *gradients_,
      *g_panels_, *dq_, *delta_, *p_, *ds_;
};

void backward(const AttentionShape& s, ConstArray q, ConstArray k, ConstArray v, const float* mask,
              ConstArray out, const float* lse, ConstArray dout, Array dq, Array dk, Array dv) {
  const int64_t heads = s.batch * s.heads;
  const int threads = static_cast<int>(larger(1, smaller(threads_for(s), heads)));
  const int64_t size = Backward(s, q, k, v, mask, out, lse, dout).scratch_size();
  const Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int parts) {
    Backward(s, q, k, v, mask, out, lse, dout)
        .run(part_of(heads, thread, parts), scratch.data() + thread * size, dq, dk, dv);
  });
}

// ---- weights ----

// p = exp(score - lse); scores are read in whole vectors.
PYDL_INLINE void weigh(int64_t n, const float* scores, float lse, float* p) {
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    store_some(p + i, exp(load(scores + i) - lse), lanes);
  });
}

void weights(const AttentionShape& s, ConstArray q, ConstArray k, const float* mask,
             const float* lse, float* p) {
  const int64_t packed = aligned_size(s.size * round_up(s.keys, kNR));
  const int64_t scores = aligned_size(kQueries * kKeys), row = aligned_size(s.keys + kLanes);
  const int64_t size = packed + scores + row + kQueries * s.size;
  const int64_t heads = s.batch * s.heads;
  const int threads = static_cast<int>(larger(1, smaller(threads_for(s), heads)));
  const Scratch scratch(threads * aligned_size(size));
  parallel(threads, [&](int thread, int parts) {
    Cut cut(scratch.data() + thread * aligned_size(size));
    float *columns = cut.take(packed), *tile = cut.take(scores), *bias = cut.take(row);
    float* queries = cut.take(kQueries * s.size);
    const Range own = part_of(heads, thread, parts);
    for (int64_t head = own.begin; head < own.end; ++head) {
      const int64_t n = head / s.heads, h = head % s.heads;
      const Keys keys = keys_of(s, mask, n, bias);
      pack(head_of(k, n, h, s.key_rows, s.k_stride, s.size).operand(true), s.size, keys.count,
           columns);
      const auto of_head = head_of(q, n, h, s.queries, s.q_stride, s.size);
      for (int64_t i = 0; i < s.queries; i += kQueries) {
        const int64_t rows = smaller(kQueries, s.queries - i);
        float* to = p + (head * s.queries + i) * s.keys;
        std::memset(to, 0, static_cast<size_t>(rows * s.keys) * sizeof(float));
        read_rows(of_head.from(i), rows, s.size, s.scale, queries);
        for (int64_t j = 0; j < keys.count; j += kKeys) {
          const int64_t count = smaller(kKeys, keys.count - j);
          multiply<TileA::kRows>(rows, count, s.size, queries, s.size, columns + j * s.size, s.size,
                                 0, tile, kKeys);
          for (int64_t r = 0; r < rows; ++r) {
            const int64_t most = smaller(count, seen(s, i + r, keys.count) - j);
            mask_row(tile + r * kKeys, most, count, keys.bias ? keys.bias + j : nullptr);
            weigh(count, tile + r * kKeys, lse[head * s.queries + i + r], to + r * s.keys + j);
          }
        }
      }
    }
  });
}

}  // namespace

const AttentionKernels attention = {forward, backward, weights};

}  // namespace pydl::kernels::PYDL_ISA
