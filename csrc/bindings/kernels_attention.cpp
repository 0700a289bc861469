// The families of Transformers: attention, the normalisation of rows, rotary embedding; the scores
// of additive attention; and the normalisation of groups of channels.

#include "bindings/kernel_table.h"
#include "kernels/additive_scores.h"
#include "kernels/attention.h"
#include "kernels/group_norm.h"
#include "kernels/rotary.h"
#include "kernels/row_norm.h"

namespace pydl {

namespace {

using namespace kernels;  // NOLINT: this file is a table of that namespace

void bind_attention(py::module_ m) {
  using S = AttentionShape;
  def_shape(m, "AttentionShape", field("batch", &S::batch), field("heads", &S::heads),
            field("queries", &S::queries), field("keys", &S::keys), field("size", &S::size),
            field("q_stride", &S::q_stride), field("k_stride", &S::k_stride),
            field("v_stride", &S::v_stride), field("out_stride", &S::out_stride),
            field("key_rows", &S::key_rows), field("causal", &S::causal),
            field("scale", &S::scale));
  // From the first value of an array to the last.
  const auto span = [](const S& s, int64_t rows, int64_t stride) {
    return rows > 0 ? (s.batch * rows - 1) * stride + s.heads * s.size : 0;
  };
  const auto q = [=](const S& s) { return span(s, s.queries, s.q_stride); };
  const auto k = [=](const S& s) { return span(s, s.key_rows, s.k_stride); };
  const auto v = [=](const S& s) { return span(s, s.key_rows, s.v_stride); };
  const auto out = [=](const S& s) { return span(s, s.queries, s.out_stride); };
  const auto rows = [](const S& s) { return s.batch * s.heads * s.queries; };
  const auto mask = [](const S& s) { return optional(s.batch * s.keys); };
  using K = AttentionKernels;
  def_kernel(m, "forward", &attention_kernels, &K::forward,
             [=](const S& s) { return Extents{q(s), k(s), v(s), mask(s), out(s), rows(s)}; });
  def_kernel(m, "backward", &attention_kernels, &K::backward, [=](const S& s) {
    return Extents{q(s),    k(s),   v(s),           mask(s),        out(s),
                   rows(s), out(s), optional(q(s)), optional(k(s)), optional(v(s))};
  });
  def_kernel(m, "weights", &attention_kernels, &K::weights,
             [=](const S& s) { return Extents{q(s), k(s), mask(s), rows(s), rows(s) * s.keys}; });
}

void bind_additive_scores(py::module_ m) {
  using S = AdditiveScoresShape;
  def_shape(m, "AdditiveScoresShape", field("queries", &S::queries), field("keys", &S::keys),
            field("batch", &S::batch), field("size", &S::size));
  using K = AdditiveScoreKernels;
  def_kernel(m, "forward", &additive_score_kernels, &K::forward, [](const S& s) {
    const int64_t row = s.batch * s.size;
    return Extents{s.queries * row, s.keys * row, s.size, s.queries * s.batch * s.keys};
  });
  def_kernel(m, "backward", &additive_score_kernels, &K::backward, [](const S& s) {
    const int64_t row = s.batch * s.size, q = s.queries * row, k = s.keys * row;
    return Extents{q, k, s.size, s.queries * s.batch * s.keys, q, k, row};
  });
}

void bind_rotary(py::module_ m) {
  using S = RotaryShape;
  def_shape(m, "RotaryShape", field("batch", &S::batch), field("steps", &S::steps),
            field("heads", &S::heads), field("size", &S::size), field("x_stride", &S::x_stride),
            field("y_stride", &S::y_stride), field("halves", &S::halves));
  def_kernel(m, "rotate", &rotary_kernels, &RotaryKernels::rotate, [](const S& s, bool) {
    const auto span = [&](int64_t stride) {
      const int64_t rows = s.batch * s.steps;
      return rows > 0 ? (rows - 1) * stride + s.heads * s.size : 0;
    };
    const int64_t table = s.steps * s.size;
    return Extents{table, table, span(s.x_stride), span(s.y_stride)};
  });
}

void bind_row_norm(py::module_ m) {
  using S = RowNormShape;
  def_shape(m, "RowNormShape", field("rows", &S::rows), field("n", &S::n),
            field("centered", &S::centered));
  using K = RowNormKernels;
  def_kernel(m, "forward", &row_norm_kernels, &K::forward, [](const S& s, float) {
    const int64_t count = s.rows * s.n;
    return Extents{count, optional(s.n), optional(s.n), {s.rows, !s.centered}, s.rows, count};
  });
  def_kernel(m, "backward", &row_norm_kernels, &K::backward, [](const S& s, bool) {
    const int64_t count = s.rows * s.n;
    return Extents{count, optional(s.n), {s.rows, !s.centered}, s.rows,
                   count, optional(s.n), optional(s.n),         optional(count)};
  });
}

void bind_group_norm(py::module_ m) {
  using S = GroupNormShape;
  def_shape(m, "GroupNormShape", field("n", &S::n), field("groups", &S::groups),
            field("channels", &S::channels), field("inner", &S::inner),
            field("channels_last", &S::channels_last));
  const auto count = [](const S& s) { return s.n * s.channels * s.inner; };
  using K = GroupNormKernels;
  def_kernel(m, "forward", &group_norm_kernels, &K::forward, [=](const S& s, float) {
    const int64_t units = s.n * s.groups, c = s.channels;
    return Extents{count(s), optional(c), optional(c), units, units, count(s)};
  });
  def_kernel(m, "backward", &group_norm_kernels, &K::backward, [=](const S& s, bool) {
    const int64_t units = s.n * s.groups, c = s.channels;
    return Extents{count(s), optional(c), units,       units,
                   count(s), optional(c), optional(c), optional(count(s))};
  });
}

}  // namespace

void bind_attention_kernels(py::module_& m) {
  bind_attention(m.def_submodule("attention"));
  bind_additive_scores(m.def_submodule("additive_scores"));
  bind_rotary(m.def_submodule("rotary"));
  bind_row_norm(m.def_submodule("row_norm"));
  bind_group_norm(m.def_submodule("group_norm"));
}

}  // namespace pydl
