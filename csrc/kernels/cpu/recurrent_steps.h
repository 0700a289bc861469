// The steps of a recurrence, whatever its cells are. A thread owns a range of cells, and so their
// columns of all gates: it multiplies, applies the gates and updates its cells, and all threads
// meet once per step.
//
//   forward:  for step: for own block of kNR cells: for gate: gates (N, kNR) += past w^T
//                       own cells
//   backward: for step, from the last: for own block: dh (N, kNR) = dgates[t+1] w
//                                      own cells
//
// Steps are counted as they are taken forward, in either direction (RecurrentShape::row).
//
// Products are cut into tiles of even numbers of rows, at most kRows. The packed weights of a block
// are panels of the micro-kernel (gemm_tile.h), one behind the other: forward one (H, width) for
// each gate, backward one (G H, width). They are read once per step, by every other step in
// reverse order: what was read last is still in the thread's L2 cache. Cells come after all of the
// thread's products, not block by block: their arrays are long rows then, which the hardware
// fetches ahead.
//
// Every value is computed by one thread in an order of its own, whatever the number of threads.
#pragma once

#include "kernels/barrier.h"
#include "kernels/cpu/gemm_amx.h"
#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/map.h"
#include "kernels/parallel.h"
#include "kernels/recurrent.h"

namespace pydl::kernels::PYDL_ISA {

// Multiply-adds of a step that are worth a second thread, which has to be met after each.
constexpr double kParallelStep = 50e3;

// Columns [begin, begin + columns) of H.
struct CellBlock {
  int64_t begin, columns;
};

inline int64_t blocks(const RecurrentShape& s) { return ceil_div(s.hidden, kNR); }

inline CellBlock cell_block(const RecurrentShape& s, int64_t index) {
  return {index * kNR, smaller(kNR, s.hidden - index * kNR)};
}

// ---- weights ----

// Floats before a block's weights, for each column before it; those of backward are as many or,
// with pairs of an odd number of cells, fewer.
template <class T>
int64_t column_size(const RecurrentShape& s) {
  return s.gates * steps<T>(s.hidden);
}

inline int64_t packed_size(const RecurrentShape& s, DType dtype) {
  if (s.hidden <= 0) return 0;
  const CellBlock last = cell_block(s, blocks(s) - 1);
  return with_step(dtype, [&]<class T>() {
    return (last.begin + panel_width(last.columns)) * column_size<T>(s);
  });
}

template <class T, class PackBlock>
void for_blocks(const RecurrentShape& s, float* packed, const PackBlock& pack_block) {
  parallel_for(blocks(s), items_worth(kGrain, s.gates * s.hidden * kNR),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const CellBlock block = cell_block(s, i);
                   pack_block(block, packed + block.begin * column_size<T>(s));
                 }
               });
}

inline void pack_forward(const RecurrentShape& s, const float* w, DType dtype, float* packed) {
  with_step(dtype, [&]<class T>() {
    for_blocks<T>(s, packed, [&](const CellBlock& block, float* out) {
      for (int64_t gate = 0; gate < s.gates; ++gate) {
        const Operand w_of_gate{w + gate * s.hidden * s.hidden, s.hidden, true};
        pack_panel<T>(w_of_gate, 0, s.hidden, block.begin, block.columns, out);
        out += steps<T>(s.hidden) * panel_width(block.columns);
      }
    });
  });
}

inline void pack_backward(const RecurrentShape& s, const float* w, DType dtype, float* packed) {
  with_step(dtype, [&]<class T>() {
    for_blocks<T>(s, packed, [&](const CellBlock& block, float* out) {
      pack_panel<T>({w, s.hidden, false}, 0, s.gates * s.hidden, block.begin, block.columns, out);
    });
  });
}

// ---- threads ----

// body(own, meet) in each thread of one parallel region: its range of blocks, and a function that
// waits for all threads.
template <class Body>
void in_step(const RecurrentShape& s, const Body& body) {
  const double work = static_cast<double>(s.batch * s.gates) * s.hidden * s.hidden;
  const bool alone = work < kParallelStep || work * s.steps < kParallelWork;
  Barrier barrier;
  parallel(alone ? 1 : static_cast<int>(smaller(num_threads(), blocks(s))),
           [&](int thread, int threads) {
             body(part_of(blocks(s), thread, threads), [&] { barrier.wait(threads); });
           });
}

// f(block) for each of a thread's blocks, in reverse at every other step.
template <class F>
PYDL_INLINE void for_own_blocks(const RecurrentShape& s, Range own, int64_t step, const F& f) {
  for (int64_t i = own.begin; i < own.end; ++i) {
    f(cell_block(s, step % 2 ? own.begin + own.end - 1 - i : i));
  }
}

// f(n, cell, lanes) for each vector of a thread's cells, in each of N sequences.
template <class F>
PYDL_INLINE void for_own_cells(const RecurrentShape& s, Range own, const F& f) {
  const int64_t begin = own.begin * kNR, end = smaller(own.end * kNR, s.hidden);
  for (int64_t n = 0; n < s.batch; ++n) {
    for_each_vector(begin, end, [&](int64_t cell, int64_t lanes) { f(n, cell, lanes); });
  }
}

template <class T>
using Runner = TileRunner<T, TileA::kRows>;

// ---- forward ----

// What the step after this one multiplies.
template <class T>
struct Next {
  const float* cont;  // (N); null after the last step
  T* past;            // (N, H)

  // From h (N, H), element `at` of sequence n on, as it was stored, which may have rounded it.
  PYDL_INLINE void take(const T* h, int64_t n, int64_t at, int64_t lanes) const {
    if (cont) store_some(past + at, cont[n] * load_some(h + at, lanes), lanes);
  }
};

// Where the recurrent product of a gate goes: the column of gates (in H) and whether it is added
// to what is there.
struct Places {
  int64_t column;
  bool add;
};
struct EachInItsPlace {
  PYDL_INLINE Places operator()(int64_t gate) const { return {gate, true}; }
};

// own_cells(t, next, own): the activations of a thread's cells in step t, whose gates are complete.
template <class T, class OwnCells, class GatePlaces = EachInItsPlace>
PYDL_INLINE void run_forward(const RecurrentShape& s, const float* packed, const float* cont,
                             const float* h0, float* gates, T* past, const OwnCells& own_cells,
                             const GatePlaces& place_of = {}) {
  if (s.steps == 0) return;
  const float* cont_0 = cont + s.row(0);
  T* past_0 = past + s.row(0) * s.hidden;
  in_step(s, [&](Range own, const auto& meet) {
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      const int64_t at = n * s.hidden + cell;
      store_some(past_0 + at, cont_0[n] * load_some(h0 + at, lanes), lanes);
    });
    Runner<T> runner;
    for (int64_t t = 0; t < s.steps; ++t) {
      meet();
      float* to = gates + s.row(t) * s.gate_stride;
      const T* past_t = past + s.row(t) * s.hidden;
      for_own_blocks(s, own, t, [&](const CellBlock& block) {
        const float* panel = packed + block.begin * column_size<T>(s);
        for (int64_t gate = 0; gate < s.gates; ++gate) {
          const Places place = place_of(gate);
          multiply_panel(&runner, s.batch, s.hidden, past_t, s.hidden, panel, place.add ? 1 : 0,
                         to + place.column * s.hidden + block.begin, s.gate_stride, block.columns);
          panel += steps<T>(s.hidden) * panel_width(block.columns);
        }
      });
      runner.flush();
      const bool last = t + 1 == s.steps;
      const int64_t next = last ? 0 : s.row(t + 1);
      own_cells(t, Next<T>{last ? nullptr : cont + next, past + next * s.hidden}, own);
    }
  });
}

// ---- backward ----

// What the next step gives back to h: dh, before cont is applied.
struct GivenBack {
  const float* cont;  // (N), of the next step; null at the last one
  const float* dh;    // (N, H)

  PYDL_INLINE Vec add_to(Vec gradient, int64_t n, int64_t at, int64_t lanes) const {
    return cont ? gradient + cont[n] * load_some(dh + at, lanes) : gradient;
  }
};

// next_dh (N, columns) of a block's columns = dgates w, dgates those of a step.
struct AllGates {
  template <class T>
  PYDL_INLINE void operator()(Runner<T>* runner, const RecurrentShape& s, const CellBlock& block,
                              const T* dgates, const float* panel, float* next_dh) const {
    multiply_panel(runner, s.batch, s.gates * s.hidden, dgates, s.gate_stride, panel, 0, next_dh,
                   s.hidden, block.columns);
  }
};

// own_cells(t, given_back, own): writes dgates of a thread's cells in step t. next_dh: (N, H).
template <class T, class OwnCells, class Multiply = AllGates>
PYDL_INLINE void run_backward(const RecurrentShape& s, const float* packed, const float* cont,
                              const T* dgates, float* next_dh, const OwnCells& own_cells,
                              const Multiply& multiply = {}) {
  in_step(s, [&](Range own, const auto& meet) {
    Runner<T> runner;
    for (int64_t t = s.steps - 1; t >= 0; --t) {
      const bool last = t + 1 == s.steps;
      if (!last) {
        for_own_blocks(s, own, t, [&](const CellBlock& block) {
          multiply(&runner, s, block, dgates + s.row(t + 1) * s.gate_stride,
                   packed + block.begin * column_size<T>(s), next_dh + block.begin);
        });
        runner.flush();
      }
      own_cells(t, GivenBack{last ? nullptr : cont + s.row(t + 1), next_dh}, own);
      meet();
    }
  });
}

// sum = gradient at the last step, += before it.
PYDL_INLINE void add_up(bool last, Vec gradient, int64_t lanes, float* sum) {
  store_some(sum, last ? gradient : gradient + load_some(sum, lanes), lanes);
}

}  // namespace pydl::kernels::PYDL_ISA
