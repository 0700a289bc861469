// Matrix products: loops, cache blocks and threads around the micro-kernel (the loop order is that
// of Goto & van de Geijn 2008, with A read in place unless it is transposed).
//
// Threads split C only, never k, so the result does not depend on their number.
#include "kernels/gemm.h"

#include <utility>

#include "kernels/cpu/gemm_amx.h"
#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/gemm_vectors.h"
#include "kernels/cpu/integers.h"
#include "kernels/packed.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace pydl::kernels::PYDL_ISA {

extern const GemmKernels gemm;

namespace {

// GemmShape with operands and every default filled in.
struct Product {
  int64_t m, n, k;
  Operand a, b;
  const float* packed_b;  // whole panels (steps(k), kNR), or null
  Epilogue epilogue;      // without the residual: that is
  ConstArray addend;      // what beta multiplies, where C is
  float beta;
  Array c;
  int64_t ldc;
};

Product make_product(const GemmShape& s, ConstArray a, ConstArray b, const float* packed_b,
                     const Epilogue& epilogue, Array c) {
  const int64_t lda = s.lda ? s.lda : (s.trans_a ? s.m : s.k);
  const int64_t ldb = s.ldb ? s.ldb : (s.trans_b ? s.k : s.n);
  Product p{s.m, s.n,    s.k, {a, lda, s.trans_a}, {b, ldb, s.trans_b}, packed_b, epilogue,
            c,   s.beta, c,   s.ldc ? s.ldc : s.n};
  if (epilogue.residual) {
    p.addend = std::exchange(p.epilogue.residual, nullptr);
    p.beta = 1;
  }
  return p;
}

// ---- one block: C (rows, columns) = beta addend + A B, then the epilogue ----

struct Block {
  int64_t rows, columns, k;
  Operand a;
  const float* panels;  // of B: (panel_steps, width), from row `panel_first` on
  int64_t panel_steps, panel_first;
  Array c;
  int64_t ldc;
  float beta;
  ConstArray addend;
  int64_t ld_addend;
  Epilogue epilogue;
};

// Floats for an A block cut into even tiles of at most kMR rows, and for a B block.
constexpr int64_t kPackedA = aligned_size(kMC / kMR * kTileRows * kKC);
constexpr int64_t kPackedB = kNC * kKC;

// kKC steps.
template <class T>
constexpr int64_t kDepth = kKC * StepOf<T>::kSize;

// How many rows of A a tile takes at most.
template <class T, TileA kA>
int64_t tile_rows(const Operand& a) {
  using Runner = TileRunner<T, kA>;
  const bool one_set = kA == TileA::kRows && a.stride * int64_t{sizeof(T)} % kSetStride == 0;
  return one_set && !Runner::kJoinsRows ? smaller(kRowsInSet, Runner::kRows) : Runner::kRows;
}

template <class T, TileA kA>
void run_tiles(const Block& b, const float* packed_a) {
  using Runner = TileRunner<T, kA>;
  constexpr int64_t kSize = StepOf<T>::kSize;
  const int tiles = static_cast<int>(ceil_div(b.rows, tile_rows<T, kA>(b.a)));
  Runner runner;
  TileArgsOf<T> t;
  t.k = b.k;
  t.ldc = b.ldc;
  t.beta = b.beta;
  t.ld_addend = b.ld_addend;
  t.a_stride = kA == TileA::kRows ? b.a.stride : kTileRows * kSize;
  const auto run = [&](int i, int64_t j) {
    const Range r = part_of(b.rows, i, tiles);
    t.columns = smaller(kNR, b.columns - j);
    t.b = b.panels + j * b.panel_steps + b.panel_first * panel_width(t.columns);
    t.epilogue = b.epilogue.from(j);
    t.c = at(b.c, r.begin * b.ldc + j);
    t.addend = at(b.addend, r.begin * b.ld_addend + j);
    t.a = kA == TileA::kRows ? static_cast<const T*>(b.a.from(r.begin, 0).data)
                             : reinterpret_cast<const T*>(packed_a + i * kTileRows * steps<T>(b.k));
    // The first panel meets A's rows for the first time: those of the next tile come meanwhile, if
    // they follow at once.
    const bool fetches = kA == TileA::kRows && j == 0 && b.a.stride == b.k;
    t.later = fetches ? reinterpret_cast<const float*>(t.a + (r.end - r.begin) * b.k) : nullptr;
    t.later_step = fetches ? ceil_div(r.end - r.begin, kSize) : 0;
    runner.run(r.end - r.begin, t);
  };
  // With a short k it is C that costs: whole rows of it at a time.
  if (b.k <= kShortK && !Runner::kJoinsRows) {
    for (int i = 0; i < tiles; ++i) {
      for (int64_t j = 0; j < b.columns; j += kNR) run(i, j);
    }
  } else {
    for (int64_t j = 0; j < b.columns; j += kNR) {
      for (int i = 0; i < tiles; ++i) run(i, j);
    }
  }
  runner.flush();
}

#if defined(__AMX_BF16__)
// As multiply_block, with the rows of a transposed A turned to run along k.
void multiply_turned(const Block& b, float* packed_a) {
  const int64_t n = steps<bfloat16>(b.k), stride = round_up(n, kLanes);
  for (int64_t s = 0; s < n; s += kLanes) {
    for (int64_t i = 0; i < b.rows; i += kLanes) {
      const int64_t rows = smaller(kLanes, b.rows - i), k = 2 * s;
      const auto* from = static_cast<const bfloat16*>(b.a.from(i, k).data);
      const auto step = [&](int64_t j) {
        return load_step<bfloat16>(from + 2 * j * b.a.stride, b.a.stride, b.k - k - 2 * j, rows);
      };
      turn_steps(smaller(kLanes, n - s), rows, step, packed_a + i * stride + s, stride);
    }
  }
  Block turned = b;
  turned.a = {reinterpret_cast<const bfloat16*>(packed_a), 2 * stride, false};
  run_tiles<bfloat16, TileA::kRows>(turned, nullptr);
}
#endif

template <class T>
void multiply_block(const Block& b, float* packed_a) {
  if (!b.a.transposed) return run_tiles<T, TileA::kRows>(b, nullptr);
#if defined(__AMX_BF16__)
  if constexpr (kRowsOnly<T>) return multiply_turned(b, packed_a);
#endif
  constexpr int64_t kStride = kPackStep * StepOf<T>::kSize;
  const int tiles = static_cast<int>(ceil_div(b.rows, kMR));
  for (int64_t k = 0; k < b.k; k += kStride) {
    for (int i = 0; i < tiles; ++i) {
      const Range r = part_of(b.rows, i, tiles);
      pack_rows<T>(b.a, r.begin, r.end - r.begin, k, smaller(kStride, b.k - k),
                   packed_a + (i * steps<T>(b.k) + steps<T>(k)) * kTileRows);
    }
  }
  run_tiles<T, TileA::kColumns>(b, packed_a);
}

// ---- the general product: each thread a rectangle of C ----

// op(B)'s rows `k` and columns `n` as panels.
template <class T>
void pack_block(const Operand& b, Range k, Range n, float* panels) {
  const int64_t height = k.end - k.begin;
  const int64_t stride = b.transposed ? height : kPackStep * StepOf<T>::kSize;
  for (int64_t i = 0; i < height; i += stride) {
    for (int64_t j = n.begin; j < n.end; j += kNR) {
      const int64_t columns = smaller(kNR, n.end - j);
      pack_panel<T>(b, k.begin + i, smaller(stride, height - i), j, columns,
                    panels + (j - n.begin) * steps<T>(height) + steps<T>(i) * panel_width(columns));
    }
  }
}

// How a product is cut: `columns` of B at a time, in which `depth` of k at a time, packed into
// scratch unless all of B is packed; in that, blocks of kMC rows, each over kDepth of k at a time.
struct Blocking {
  int64_t columns, depth;
  // Sums over several kDepth are kept in float, whatever C is.
  bool partial_sums;
  int64_t packed_b, partial;  // floats

  int64_t scratch_size() const { return packed_b + kPackedA + partial; }
};

template <class T>
Blocking blocking_of(const Product& p) {
  Blocking b{};
  b.partial_sums = p.c.dtype == DType::kBFloat16 && p.k > kDepth<T>;
  b.depth = p.packed_b || b.partial_sums ? larger(p.k, 1) : kDepth<T>;
  const int64_t packed_k = p.packed_b ? kKC : larger(steps<T>(smaller(p.k, b.depth)), 1);
  b.columns = p.packed_b ? kNC : larger(kPackedB / packed_k / kNR, 1) * kNR;
  b.packed_b = p.packed_b ? 0 : larger(kPackedB, packed_k * kNR);
  b.partial = b.partial_sums ? kMC * b.columns : 0;
  return b;
}

// One block's rows over all of the k that its panels hold: b.panels and b.panel_steps are set.
template <class T>
void multiply_rows(const Product& p, Range k, int64_t i, int64_t j, Block b, float* packed_a,
                   float* partial) {
  const Array c = at(p.c, i * p.ldc + j);
  // k = 0 is one empty block, for beta and the epilogue.
  for (int64_t k0 = k.begin; k0 == 0 || k0 < k.end; k0 += kDepth<T>) {
    b.k = smaller(kDepth<T>, k.end - k0);
    b.a = {p.a.from(i, k0), p.a.stride, p.a.transposed};
    b.panel_first = steps<T>(p.packed_b ? k0 : k0 - k.begin);
    const bool first = k0 == 0, last = k0 + b.k == p.k;
    b.beta = first ? p.beta : 1.0f;
    b.addend = first ? at(p.addend, i * p.ldc + j) : partial ? ConstArray(partial) : c;
    b.ld_addend = first || !partial ? p.ldc : b.columns;
    b.c = last || !partial ? c : Array(partial);
    b.ldc = last || !partial ? p.ldc : b.columns;
    b.epilogue = last ? p.epilogue.from(j) : Epilogue{};
    multiply_block<T>(b, packed_a);
  }
}

template <class T>
void multiply_part(const Product& p, const Blocking& blocking, Range rows, Range columns,
                   float* scratch) {
  float* packed_a = scratch + blocking.packed_b;
  float* partial = blocking.partial_sums ? packed_a + kPackedA : nullptr;
  Block b{};
  for (int64_t j = columns.begin; j < columns.end; j += blocking.columns) {
    b.columns = smaller(blocking.columns, columns.end - j);
    for (int64_t k0 = 0; k0 == 0 || k0 < p.k; k0 += blocking.depth) {
      const Range k{k0, smaller(k0 + blocking.depth, p.k)};
      b.panels = p.packed_b ? p.packed_b + j * steps<T>(p.k) : scratch;
      b.panel_steps = steps<T>(p.packed_b ? p.k : k.end - k.begin);
      if (!p.packed_b) pack_block<T>(p.b, k, {j, j + b.columns}, scratch);
      for (int64_t i = rows.begin; i < rows.end; i += kMC) {
        b.rows = smaller(kMC, rows.end - i);
        multiply_rows<T>(p, k, i, j, b, packed_a, partial);
      }
    }
  }
}

// How many of `threads` split the rows; the others split the columns. Least work of the slowest
// one, counting tiles and what each has to pack or fetch for itself.
int row_parts(const Product& p, int threads) {
  int best = 1;
  int64_t least = INT64_MAX;
  for (int parts = 1; parts <= threads; ++parts) {
    if (threads % parts != 0) continue;
    const int64_t rows = ceil_div(ceil_div(p.m, kMR), parts) * kMR;
    const int64_t columns = ceil_div(ceil_div(p.n, kNR), threads / parts) * kNR;
    const int64_t cost = rows * columns / kNR + columns / 4 + rows / (p.a.transposed ? 4 : 8);
    if (cost < least) {
      least = cost;
      best = parts;
    }
  }
  return best;
}

template <class T>
void multiply(const Product& p) {
  const int threads = threads_for(static_cast<double>(p.m) * p.n * p.k);
  const int parts = row_parts(p, threads);
  const Blocking blocking = blocking_of<T>(p);
  const int64_t size = aligned_size(blocking.scratch_size());
  Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int got) {
    // Fewer threads than asked for take the parts in turn.
    for (int i = thread; i < threads; i += got) {
      const Range rows = part_of(p.m, i % parts, parts, kMR);
      const Range columns = part_of(p.n, i / parts, threads / parts, kNR);
      if (rows.begin < rows.end) {
        multiply_part<T>(p, blocking, rows, columns, scratch.data() + thread * size);
      }
    }
  });
}

// ---- packing a whole operand ----

template <class T>
void pack_all(const Operand& b, int64_t k, int64_t n, float* out) {
  const int threads = threads_for(static_cast<double>(k) * n * 8);
  parallel(threads, [&](int thread, int parts) {
    const Range r = part_of(k, thread, parts, kLanes * StepOf<T>::kSize);
    if (r.begin == r.end) return;
    for (int64_t j = 0; j < n; j += kNR) {
      const int64_t columns = smaller(kNR, n - j);
      pack_panel<T>(b, r.begin, r.end - r.begin, j, columns,
                    out + j * steps<T>(k) + steps<T>(r.begin) * panel_width(columns));
    }
  });
}

// ---- C^T = op(B)^T op(A)^T ----
//
// For few rows and a transposed B (an InnerProduct layer): B is large and is read in place, A is
// small and is the one to be packed.

// C (columns, rows)^T = beta C + block (rows, columns), `stride` floats between its rows; then the
// epilogue.
template <class E>
void store_transposed(const float* block, int64_t rows, int64_t columns, int64_t stride, float beta,
                      const Epilogue& epilogue, E* c, int64_t ldc) {
  for (int64_t i = 0; i < rows; i += kLanes) {
    const int64_t height = smaller(kLanes, rows - i);
    const Vec bias = epilogue.bias ? load_n(epilogue.bias + i, height) : Vec{};
    for (int64_t j = 0; j < columns; j += kLanes) {
      Vec x[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r)
        x[r] = r < height ? load(block + (i + r) * stride + j) : Vec{};
      transpose(x);
      E* out = c + j * ldc + i;
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r, out += ldc) {
        if (j + r >= columns) break;
        Vec y = x[r] + bias;
        if (beta != 0) y += beta * load_n(out, height);
        if (epilogue.relu) y = relu(y, epilogue.ceiling);
        store_n(out, y, height);
      }
    }
  }
}

// Rows of B are read in long runs.
template <class T>
constexpr int64_t kLongDepth = 8 * kDepth<T>;

bool suits_transposed(const Product& p) {
  return p.b.transposed && !p.packed_b && p.m <= 4 * kNR && p.m * 4 <= p.n && p.k > kShortK;
}

template <class T>
void multiply_transposed(const Product& p) {
  const int threads = threads_for(static_cast<double>(p.m) * p.n * p.k);
  const int64_t stride = round_up(p.m, kLanes);
  const int64_t panels = aligned_size(panels_size<T>(p.k, p.m));
  Scratch scratch(panels + threads * kMC * stride);
  pack_all<T>({p.a.x, p.a.stride, !p.a.transposed}, p.k, p.m, scratch.data());
  parallel(threads, [&](int thread, int parts) {
    const Range r = part_of(p.n, thread, parts, kMR);
    float* c = scratch.data() + panels + thread * kMC * stride;
    for (int64_t i = r.begin; i < r.end; i += kMC) {
      Block b{};
      b.rows = smaller(kMC, r.end - i);
      b.columns = p.m;
      b.panels = scratch.data();
      b.panel_steps = steps<T>(p.k);
      b.addend = c;
      b.c = c;
      b.ldc = b.ld_addend = stride;
      for (int64_t k0 = 0; k0 < p.k; k0 += kLongDepth<T>) {
        b.k = smaller(kLongDepth<T>, p.k - k0);
        b.a = {at(p.b.x, i * p.b.stride + k0), p.b.stride, false};
        b.panel_first = steps<T>(k0);
        b.beta = k0 == 0 ? 0.0f : 1.0f;
        multiply_block<T>(b, nullptr);
      }
      with_type(at(p.c, i), [&](auto* to) {
        store_transposed(c, b.rows, p.m, stride, p.beta, p.epilogue.from(i), to, p.ldc);
      });
    }
  });
}

// ---- the family's functions ----

void gemm_plain(const GemmShape& s, ConstArray a, ConstArray b, const Epilogue& epilogue, Array c) {
  if (s.m <= 0 || s.n <= 0) return;
  const Product p = make_product(s, a, b, nullptr, epilogue, c);
  const bool adds_to_c = p.addend.data == p.c.data;
  const bool rows_of_a = !s.trans_a || (p.m == 1 && p.a.stride == 1);
  if (p.m <= kFewVectors && rows_of_a && adds_to_c) {
    return multiply_vectors({b, p.b.stride, !p.b.transposed}, p.n, p.k,
                            {p.m, a, p.a.stride, c, p.ldc}, p.beta, p.epilogue);
  }
  const bool column_of_b = s.trans_b || p.b.stride == 1;
  if (p.n == 1 && column_of_b && p.ldc == 1 && !epilogue.bias && adds_to_c) {
    return multiply_vectors(p.a, p.m, p.k, {1, b, p.k, c, p.m}, p.beta, p.epilogue);
  }
  if (suits_transposed(p) && adds_to_c) {
    with_step(b.dtype, [&]<class T>() { multiply_transposed<T>(p); });
  } else {
    with_step(a.dtype, [&]<class T>() { multiply<T>(p); });
  }
}

PackedMatrixPtr pack(const GemmShape& s, ConstArray b, DType dtype, PackedMatrixPtr reuse) {
  PackedMatrixPtr packed;
  with_step(dtype, [&]<class T>() {
    packed = make_packed(s.k, s.n, kNR, dtype, panels_size<T>(s.k, s.n), std::move(reuse));
    pack_all<T>(make_product(s, nullptr, b, nullptr, {}, nullptr).b, s.k, s.n, packed->data);
  });
  return packed;
}

void gemm_packed(const GemmShape& s, ConstArray a, const PackedMatrix& b, const Epilogue& epilogue,
                 Array c) {
  check_packed(b, s.k, s.n, kNR, a.dtype);
  if (s.m <= 0 || s.n <= 0) return;
  const Product p = make_product(s, a, nullptr, b.data, epilogue, c);
  with_step(a.dtype, [&]<class T>() { multiply<T>(p); });
}

void gemv(const GemmShape& s, ConstArray a, ConstArray x, Array y) {
  const int64_t lda = s.lda ? s.lda : (s.trans_a ? s.m : s.k);
  multiply_vectors({a, lda, s.trans_a}, s.m, s.k, {1, x, s.k, y, s.m}, s.beta, {});
}

}  // namespace

const GemmKernels gemm = {gemm_plain, pack, gemm_packed, gemv};

}  // namespace pydl::kernels::PYDL_ISA
