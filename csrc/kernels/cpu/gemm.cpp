// Matrix products: loops, cache blocks and threads around the micro-kernel (the loop order is that
// of Goto & van de Geijn 2008, with A read in place unless it is transposed).
//
// Threads split C only, never k, so the result does not depend on their number.
#include "kernels/gemm.h"

#include <utility>

#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
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
  const float* packed_b;  // whole panels (k, kNR), or null
  Epilogue epilogue;
  float beta;
  float* c;
  int64_t ldc;
};

Product make_product(const GemmShape& s, const float* a, const float* b, const float* packed_b,
                     const Epilogue& epilogue, float* c) {
  const int64_t lda = s.lda ? s.lda : (s.trans_a ? s.m : s.k);
  const int64_t ldb = s.ldb ? s.ldb : (s.trans_b ? s.k : s.n);
  return {s.m,      s.n,    s.k, {a, lda, s.trans_a}, {b, ldb, s.trans_b}, packed_b,
          epilogue, s.beta, c,   s.ldc ? s.ldc : s.n};
}

int threads_for(double work) { return work < kParallelWork ? 1 : num_threads(); }

// ---- one block: C (rows, columns) = beta C + A B, then the epilogue ----

struct Block {
  int64_t rows, columns, k;
  Operand a;
  const float* panels;  // of B: (panel_k, width), of which k rows from `panel_first` on
  int64_t panel_k, panel_first;
  float* c;
  int64_t ldc;
  float beta;
  Epilogue epilogue;
};

// Floats for an A block cut into even tiles of at most kMR rows, and for a B block.
constexpr int64_t kPackedA = aligned_size(kMC / kMR * kTileRows * kKC);
constexpr int64_t kPackedB = kNC * kKC;

template <TileA kA>
void run_tiles(const Block& b, const float* packed_a) {
  const int tiles = static_cast<int>(ceil_div(b.rows, kMR));
  TileArgs t;
  t.k = b.k;
  t.ldc = b.ldc;
  t.beta = b.beta;
  t.a_stride = kA == TileA::kRows ? b.a.stride : kTileRows;
  const auto run = [&](int i, int64_t j) {
    const Range r = part_of(b.rows, i, tiles);
    t.columns = smaller(kNR, b.columns - j);
    t.b = b.panels + j * b.panel_k + b.panel_first * panel_width(t.columns);
    t.epilogue = b.epilogue.from(j);
    t.c = b.c + r.begin * b.ldc + j;
    t.a = kA == TileA::kRows ? b.a.at(r.begin, 0) : packed_a + i * kTileRows * b.k;
    run_tile<kA>(r.end - r.begin, t);
  };
  // With a short k it is C that costs: whole rows of it at a time.
  if (b.k <= kShortK) {
    for (int i = 0; i < tiles; ++i) {
      for (int64_t j = 0; j < b.columns; j += kNR) run(i, j);
    }
  } else {
    for (int64_t j = 0; j < b.columns; j += kNR) {
      for (int i = 0; i < tiles; ++i) run(i, j);
    }
  }
}

void multiply_block(const Block& b, float* packed_a) {
  if (!b.a.transposed) return run_tiles<TileA::kRows>(b, nullptr);
  const int tiles = static_cast<int>(ceil_div(b.rows, kMR));
  for (int64_t k = 0; k < b.k; k += kPackStep) {
    for (int i = 0; i < tiles; ++i) {
      const Range r = part_of(b.rows, i, tiles);
      pack_rows(b.a, r.begin, r.end - r.begin, k, smaller(kPackStep, b.k - k),
                packed_a + (i * b.k + k) * kTileRows);
    }
  }
  run_tiles<TileA::kColumns>(b, packed_a);
}

// ---- the general product: each thread a rectangle of C ----

// op(B)'s rows `k` and columns `n` as panels.
void pack_block(const Operand& b, Range k, Range n, float* panels) {
  const int64_t height = k.end - k.begin;
  const int64_t step = b.transposed ? height : kPackStep;
  for (int64_t i = 0; i < height; i += step) {
    for (int64_t j = n.begin; j < n.end; j += kNR) {
      const int64_t columns = smaller(kNR, n.end - j);
      pack_panel(b, k.begin + i, smaller(step, height - i), j, columns,
                 panels + (j - n.begin) * height + i * panel_width(columns));
    }
  }
}

// scratch: kPackedB + kPackedA floats.
void multiply_part(const Product& p, Range rows, Range columns, float* scratch) {
  const int64_t nc = larger(kPackedB / larger(smaller(p.k, kKC), 1) / kNR, 1) * kNR;
  for (int64_t j = columns.begin; j < columns.end; j += nc) {
    // k = 0 is one empty block, for beta and the epilogue.
    for (int64_t k0 = 0; k0 == 0 || k0 < p.k; k0 += kKC) {
      Block b;
      b.columns = smaller(nc, columns.end - j);
      b.k = smaller(kKC, p.k - k0);
      if (p.packed_b) {
        b.panels = p.packed_b + j * p.k;
        b.panel_k = p.k;
        b.panel_first = k0;
      } else {
        pack_block(p.b, {k0, k0 + b.k}, {j, j + b.columns}, scratch);
        b.panels = scratch;
        b.panel_k = b.k;
        b.panel_first = 0;
      }
      b.ldc = p.ldc;
      b.beta = k0 == 0 ? p.beta : 1.0f;
      b.epilogue = k0 + b.k == p.k ? p.epilogue.from(j) : Epilogue{};
      for (int64_t i = rows.begin; i < rows.end; i += kMC) {
        b.rows = smaller(kMC, rows.end - i);
        b.a = {p.a.at(i, k0), p.a.stride, p.a.transposed};
        b.c = p.c + i * p.ldc + j;
        multiply_block(b, scratch + kPackedB);
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

void multiply(const Product& p) {
  const int threads = threads_for(static_cast<double>(p.m) * p.n * p.k);
  const int parts = row_parts(p, threads);
  Scratch scratch(threads * (kPackedB + kPackedA));
  parallel(threads, [&](int thread, int got) {
    // Fewer threads than asked for take the parts in turn.
    for (int i = thread; i < threads; i += got) {
      const Range rows = part_of(p.m, i % parts, parts, kMR);
      const Range columns = part_of(p.n, i / parts, threads / parts, kNR);
      if (rows.begin < rows.end) {
        multiply_part(p, rows, columns, scratch.data() + thread * (kPackedB + kPackedA));
      }
    }
  });
}

// ---- packing a whole operand ----

constexpr int64_t packed_size(int64_t k, int64_t n) {
  return larger(k, 1) * (n / kNR * kNR + (n % kNR ? panel_width(n % kNR) : 0));
}

void pack_all(const Operand& b, int64_t k, int64_t n, float* out) {
  const int threads = threads_for(static_cast<double>(k) * n * 8);
  parallel(threads, [&](int thread, int parts) {
    const Range r = part_of(k, thread, parts, kLanes);
    if (r.begin == r.end) return;
    for (int64_t j = 0; j < n; j += kNR) {
      const int64_t columns = smaller(kNR, n - j);
      pack_panel(b, r.begin, r.end - r.begin, j, columns,
                 out + j * k + r.begin * panel_width(columns));
    }
  });
}

// ---- C^T = op(B)^T op(A)^T ----
//
// For few rows and a transposed B (an InnerProduct layer): B is large and is read in place, A is
// small and is the one to be packed.

// C (columns, rows)^T = beta C + block (rows, columns), `stride` floats between its rows; then the
// epilogue.
void store_transposed(const float* block, int64_t rows, int64_t columns, int64_t stride, float beta,
                      const Epilogue& epilogue, float* c, int64_t ldc) {
  for (int64_t i = 0; i < rows; i += kLanes) {
    const int64_t height = smaller(kLanes, rows - i);
    const Vec bias = epilogue.bias ? load_n(epilogue.bias + i, height) : Vec{};
    for (int64_t j = 0; j < columns; j += kLanes) {
      Vec x[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r)
        x[r] = r < height ? load(block + (i + r) * stride + j) : Vec{};
      transpose(x);
      float* out = c + j * ldc + i;
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r, out += ldc) {
        if (j + r >= columns) break;
        Vec y = x[r] + bias;
        if (beta != 0) y += beta * load_n(out, height);
        if (epilogue.relu) y = relu(y);
        store_n(out, y, height);
      }
    }
  }
}

bool suits_transposed(const Product& p) {
  return p.b.transposed && !p.packed_b && p.m <= 4 * kNR && p.m * 4 <= p.n && p.k > kShortK;
}

void multiply_transposed(const Product& p) {
  const int threads = threads_for(static_cast<double>(p.m) * p.n * p.k);
  const int64_t stride = round_up(p.m, kLanes);
  const int64_t panels = aligned_size(packed_size(p.k, p.m));
  Scratch scratch(panels + threads * kMC * stride);
  pack_all({p.a.x, p.a.stride, !p.a.transposed}, p.k, p.m, scratch.data());
  parallel(threads, [&](int thread, int parts) {
    const Range r = part_of(p.n, thread, parts, kMR);
    float* c = scratch.data() + panels + thread * kMC * stride;
    for (int64_t i = r.begin; i < r.end; i += kMC) {
      Block b;
      b.rows = smaller(kMC, r.end - i);
      b.columns = p.m;
      b.panels = scratch.data();
      b.panel_k = p.k;
      b.c = c;
      b.ldc = stride;
      for (int64_t k0 = 0; k0 < p.k; k0 += kKC) {
        b.k = smaller(kKC, p.k - k0);
        b.a = {p.b.x + i * p.b.stride + k0, p.b.stride, false};
        b.panel_first = k0;
        b.beta = k0 == 0 ? 0.0f : 1.0f;
        multiply_block(b, nullptr);
      }
      store_transposed(c, b.rows, p.m, stride, p.beta, p.epilogue.from(i), p.c + i, p.ldc);
    }
  });
}

// ---- matrix times vector, at the speed of memory ----

// y[i] = a[i, :] . x + beta y[i], then the epilogue
void dot_rows(const float* a, int64_t lda, Range rows, int64_t k, const float* x, float beta,
              const Epilogue& epilogue, float* y) {
  constexpr int kRows = 4;
  for (int64_t i = rows.begin; i < rows.end; i += kRows) {
    const int64_t left = smaller(kRows, rows.end - i);
    const float* row[kRows];
    for (int r = 0; r < kRows; ++r) row[r] = a + (i + smaller(r, left - 1)) * lda;
    Vec acc[kRows][2] = {};
    int64_t p = 0;
    for (; p + 2 * kLanes <= k; p += 2 * kLanes) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        acc[r][0] += load(row[r] + p) * load(x + p);
        acc[r][1] += load(row[r] + p + kLanes) * load(x + p + kLanes);
      }
    }
    for (; p < k; p += kLanes) {
      const int64_t n = smaller(kLanes, k - p);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) acc[r][0] += load_n(row[r] + p, n) * load_n(x + p, n);
    }
    for (int r = 0; r < left; ++r) {
      float value = sum(acc[r][0] + acc[r][1]);
      if (epilogue.bias) value += epilogue.bias[i + r];
      if (beta != 0) value += beta * y[i + r];
      if (epilogue.relu) value = value < 0 ? 0 : value;
      y[i + r] = value;
    }
  }
}

// y[j] = sum over p of x[p] a[p, j] + beta y[j], then the epilogue
void add_rows(const float* a, int64_t lda, Range columns, int64_t k, const float* x, float beta,
              const Epilogue& epilogue, float* y) {
  constexpr int kRows = 8;
  const auto each = [&](auto&& f) {
    for (int64_t j = columns.begin; j < columns.end; j += kLanes) {
      f(j, smaller(kLanes, columns.end - j));
    }
  };
  each([&](int64_t j, int64_t n) {
    Vec v = epilogue.bias ? load_n(epilogue.bias + j, n) : Vec{};
    if (beta != 0) v += beta * load_n(y + j, n);
    store_n(y + j, v, n);
  });
  int64_t p = 0;
  for (; p + kRows <= k; p += kRows) {
    each([&](int64_t j, int64_t n) {
      Vec v = load_n(y + j, n);
      const float* from = a + p * lda + j;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r, from += lda) v += x[p + r] * load_n(from, n);
      store_n(y + j, v, n);
    });
  }
  for (; p < k; ++p) {
    each([&](int64_t j, int64_t n) {
      store_n(y + j, load_n(y + j, n) + x[p] * load_n(a + p * lda + j, n), n);
    });
  }
  if (!epilogue.relu) return;
  each([&](int64_t j, int64_t n) { store_n(y + j, relu(load_n(y + j, n)), n); });
}

// y = op(A) x + beta y, op(A) (m, k); then the epilogue.
void multiply_vector(const Operand& a, int64_t m, int64_t k, const float* x, float beta,
                     const Epilogue& epilogue, float* y) {
  parallel(threads_for(static_cast<double>(m) * k), [&](int thread, int parts) {
    if (a.transposed) {
      add_rows(a.x, a.stride, part_of(m, thread, parts, kLanes), k, x, beta, epilogue, y);
    } else {
      dot_rows(a.x, a.stride, part_of(m, thread, parts, 4), k, x, beta, epilogue, y);
    }
  });
}

// ---- the family's functions ----

void gemm_plain(const GemmShape& s, const float* a, const float* b, const Epilogue& epilogue,
                float* c) {
  if (s.m <= 0 || s.n <= 0) return;
  const Product p = make_product(s, a, b, nullptr, epilogue, c);
  const bool row_of_a = !s.trans_a || p.a.stride == 1;
  if (p.m == 1 && row_of_a) {
    return multiply_vector({b, p.b.stride, !p.b.transposed}, p.n, p.k, a, p.beta, epilogue, c);
  }
  const bool column_of_b = s.trans_b || p.b.stride == 1;
  if (p.n == 1 && column_of_b && p.ldc == 1 && !epilogue.bias) {
    return multiply_vector(p.a, p.m, p.k, b, p.beta, epilogue, c);
  }
  suits_transposed(p) ? multiply_transposed(p) : multiply(p);
}

PackedMatrixPtr pack_b(const GemmShape& s, const float* b, PackedMatrixPtr reuse) {
  PackedMatrixPtr packed = make_packed(s.k, s.n, kNR, packed_size(s.k, s.n), std::move(reuse));
  pack_all(make_product(s, nullptr, b, nullptr, {}, nullptr).b, s.k, s.n, packed->data);
  return packed;
}

void gemm_packed(const GemmShape& s, const float* a, const PackedMatrix& b,
                 const Epilogue& epilogue, float* c) {
  check_packed(b, s.k, s.n, kNR);
  if (s.m > 0 && s.n > 0) multiply(make_product(s, a, nullptr, b.data, epilogue, c));
}

void gemv(const GemmShape& s, const float* a, const float* x, float* y) {
  const int64_t lda = s.lda ? s.lda : (s.trans_a ? s.m : s.k);
  multiply_vector({a, lda, s.trans_a}, s.m, s.k, x, s.beta, {}, y);
}

}  // namespace

const GemmKernels gemm = {gemm_plain, pack_b, gemm_packed, gemv};

}  // namespace pydl::kernels::PYDL_ISA
