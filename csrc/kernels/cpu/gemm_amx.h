// The micro-kernel of bfloat16 on AMX: A in place, B in the panels of gemm_tile.h, which are what
// AMX takes (steps of pairs as rows).
//
// Registers: C in 2 x 2 tiles of 16 x 16 (0 to 3), A in two (4, 5), B in two (6, 7). Two row tiles
// that meet the same panel are multiplied together; while they are, the sums of the two before
// them, stored to memory, are finished and written to C, some rows at every step along k: AMX works
// beside the vector units.
#pragma once

#if defined(__AMX_BF16__)

#include "kernels/cpu/amx.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/integers.h"
#include "kernels/cpu/transpose.h"

namespace pydl::kernels::PYDL_ISA {

template <>
class TileRunner<bfloat16, TileA::kRows> {
 public:
  static constexpr int kRows = kAmxRows;
  static constexpr bool kJoinsRows = true;
  using Args = TileArgsOf<bfloat16>;

  TileRunner() = default;
  TileRunner(const TileRunner&) = delete;
  TileRunner& operator=(const TileRunner&) = delete;
  ~TileRunner() {
    if (configured_[0] > 0) amx_release();
  }

  void run(int64_t rows, const Args& t) {
    if (waiting_.rows > 0 && !same_panel(waiting_.t, t)) multiply_waiting();
    if (waiting_.rows == 0) {
      waiting_ = {t, rows};
      return;
    }
    const Tile first = waiting_;
    waiting_.rows = 0;
    multiply(first, {t, rows});
  }

  // All that was run is in C afterwards.
  void flush() {
    if (waiting_.rows > 0) multiply_waiting();
    finish_rows(2 * kAmxRows);
  }

 private:
  struct Tile {
    Args t;
    int64_t rows = 0;
  };

  static constexpr int64_t kSteps = kAmxRowBytes / 4;  // along k, in one multiplication
  static constexpr int64_t kElements = 2 * kSteps;
  static constexpr int64_t kRowOfSums = kNR * sizeof(float);

  static bool same_panel(const Args& a, const Args& b) {
    return a.b == b.b && a.k == b.k && a.taps == b.taps && a.tap == b.tap && a.columns == b.columns;
  }

  void multiply_waiting() {
    const Tile alone = waiting_;
    waiting_.rows = 0;
    multiply(alone, {});
  }

  void multiply(const Tile& x, const Tile& y) {
    if (panel_width(x.t.columns) == kNR) {
      y.rows ? multiply_tiles<2, 2>(x, y) : multiply_tiles<1, 2>(x, y);
    } else {
      y.rows ? multiply_tiles<2, 1>(x, y) : multiply_tiles<1, 1>(x, y);
    }
  }

  void configure(int64_t rows, int64_t more_rows) {
    if (configured_[0] == rows && configured_[1] == more_rows) return;
    AmxConfig config;
    for (int tile = 0; tile < 8; ++tile) {
      const int64_t of_a = tile == 2 || tile == 3 || tile == 5 ? more_rows : rows;
      config.rows[tile] = static_cast<uint8_t>(tile < 6 ? of_a : kSteps);
      config.row_bytes[tile] = kAmxRowBytes;
      // A tile that is not used has neither rows nor bytes.
      if (config.rows[tile] == 0) config.row_bytes[tile] = 0;
    }
    amx_configure(config);
    configured_[0] = rows;
    configured_[1] = more_rows;
  }

  template <int M, int N>
  PYDL_INLINE static void step(const void* a0, int64_t stride0, const void* a1, int64_t stride1,
                               const float* b) {
    constexpr int64_t kRowOfB = N * kAmxRowBytes;
    amx_load<6>(b, kRowOfB);
    amx_load<4>(a0, stride0);
    if constexpr (N == 2) amx_load<7>(b + kSteps, kRowOfB);
    amx_multiply_add<0, 4, 6>();
    if constexpr (M == 2) amx_load<5>(a1, stride1);
    if constexpr (N == 2) amx_multiply_add<1, 4, 7>();
    if constexpr (M == 2) amx_multiply_add<2, 5, 6>();
    if constexpr (M == 2 && N == 2) amx_multiply_add<3, 5, 7>();
  }

  // The last elements of a tap, completed with zeros.
  template <int M, int N>
  void last_step(const Tile& x, const bfloat16* a0, const Tile& y, const bfloat16* a1,
                 const float* b, int64_t elements) {
    const auto copy_rows = [&](const Tile& tile, const bfloat16* from, bfloat16* to) {
      for (int64_t i = 0; i < tile.rows; ++i) {
        __builtin_memset(static_cast<void*>(to + i * kElements), 0, kAmxRowBytes);
        __builtin_memcpy(to + i * kElements, from + i * tile.t.a_stride,
                         static_cast<size_t>(elements) * sizeof(bfloat16));
      }
    };
    copy_rows(x, a0, last_a_[0]);
    if (M == 2) copy_rows(y, a1, last_a_[1]);
    const size_t bytes = static_cast<size_t>(steps<bfloat16>(elements)) * N * kAmxRowBytes;
    __builtin_memset(last_b_, 0, sizeof last_b_);
    __builtin_memcpy(last_b_, b, bytes);
    step<M, N>(last_a_[0], kAmxRowBytes, last_a_[1], kAmxRowBytes, last_b_);
  }

  template <int M, int N>
  void multiply_tiles(const Tile& x, const Tile& y) {
    configure(x.rows, y.rows);
    amx_zero<0>();
    if constexpr (N == 2) amx_zero<1>();
    if constexpr (M == 2) amx_zero<2>();
    if constexpr (M == 2 && N == 2) amx_zero<3>();
    const Args& t = x.t;
    const int64_t all_steps = t.taps * ceil_div(t.k, kElements);
    const int64_t rows_each = ceil_div(finished_[0].rows + finished_[1].rows, larger(all_steps, 1));
    const int64_t stride0 = x.t.a_stride * static_cast<int64_t>(sizeof(bfloat16));
    const int64_t stride1 = y.t.a_stride * static_cast<int64_t>(sizeof(bfloat16));
    const float* b = t.b;
    for (int64_t i = 0; i < t.taps; ++i) {
      const bfloat16* a0 = x.t.a + t.tap[i];
      const bfloat16* a1 = M == 2 ? y.t.a + t.tap[i] : nullptr;
      int64_t k = 0;
      for (; k + kElements <= t.k; k += kElements, b += kSteps * N * kLanes) {
        step<M, N>(a0 + k, stride0, a1 + k, stride1, b);
        finish_rows(rows_each);
      }
      if (k < t.k) {
        last_step<M, N>(x, a0 + k, y, a1 + k, b, t.k - k);
        b += steps<bfloat16>(t.k - k) * N * kLanes;
        finish_rows(rows_each);
      }
    }
    finish_rows(2 * kAmxRows);
    amx_store<0>(sums_, kRowOfSums);
    if constexpr (N == 2) amx_store<1>(sums_ + kLanes, kRowOfSums);
    if constexpr (M == 2) amx_store<2>(sums_ + kAmxRows * kNR, kRowOfSums);
    if constexpr (M == 2 && N == 2) amx_store<3>(sums_ + kAmxRows * kNR + kLanes, kRowOfSums);
    finished_[0] = x;
    finished_[1] = y;
    next_row_ = 0;
  }

  // Up to `count` more rows of the last sums to C.
  PYDL_INLINE void finish_rows(int64_t count) {
    for (; count > 0; --count) {
      const int half = next_row_ < finished_[0].rows ? 0 : 1;
      const int64_t row = half == 0 ? next_row_ : next_row_ - finished_[0].rows;
      if (row >= finished_[half].rows) return;
      finish_row(finished_[half].t, sums_ + (half * kAmxRows + row) * kNR);
      ++next_row_;
    }
  }

  // t moves on to the next row.
  static void finish_row(Args& t, const float* sums) {
    if (t.columns > kLanes) {
      Vec acc[1][2] = {{load(sums), load(sums + kLanes)}};
      tile_finish(t, acc);
    } else {
      Vec acc[1][1] = {{load(sums)}};
      tile_finish(t, acc);
    }
    t.c = at(t.c, t.ldc);
    if (t.addend) t.addend = at(t.addend, t.ld_addend);
  }

  Tile waiting_;      // for another one with the same panel
  Tile finished_[2];  // whose sums are in sums_, and in C up to next_row_
  int64_t next_row_ = 0;
  int64_t configured_[2] = {};
  alignas(64) float sums_[2 * kAmxRows * kNR];
  alignas(64) bfloat16 last_a_[2][kAmxRows * kElements];
  alignas(64) float last_b_[kSteps * kNR];
};

// AMX wants the rows of A along k. A (rows <= kLanes, steps) from vectors of rows: step(i) for the
// next n <= kLanes steps in order; zero up to kLanes steps.
template <class F>
PYDL_INLINE void turn_steps(int64_t n, int64_t rows, const F& step, float* out, int64_t stride) {
  Vec x[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) x[i] = i < n ? step(i) : Vec{};
  transpose(x);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i < rows) store(out + i * stride, x[i]);
  }
}

}  // namespace pydl::kernels::PYDL_ISA

#endif
