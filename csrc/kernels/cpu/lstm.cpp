// The recurrence of an LSTM. A thread owns a range of cells, and so their columns of all four
// gates: it multiplies, applies the gates and updates its cells, and all threads meet once per
// step.
//
//   forward:  for step: for own block of kNR cells: for gate: gates (N, kNR) += past w^T
//                       own cells
//   backward: for step, from the last: for own block: dh (N, kNR) = dgates[t+1] w
//                                      own cells
//
// Products are cut into tiles of even numbers of rows, at most kRows. The packed weights of a block
// are panels of the micro-kernel (gemm_tile.h), one behind the other: forward the four gates'
// (H, width), backward one (4 H, width). They are read once per step, by every other step in
// reverse order: what was read last is still in the thread's L2 cache. Cells come after all of the
// thread's products, not block by block: their arrays are long rows then, which the hardware
// fetches ahead.
//
// Every value is computed by one thread in an order of its own, whatever the number of threads.
#include "kernels/lstm.h"

#include <cstring>

#include "kernels/barrier.h"
#include "kernels/cpu/gemm_amx.h"
#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const LstmKernels lstm;

namespace {

constexpr int kGates = 4;

// Multiply-adds of a step that are worth a second thread, which has to be met after each.
constexpr double kParallelStep = 50e3;

// Columns [begin, begin + columns) of H.
struct CellBlock {
  int64_t begin, columns;
};

int64_t blocks(const LstmShape& s) { return ceil_div(s.hidden, kNR); }

CellBlock cell_block(const LstmShape& s, int64_t index) {
  return {index * kNR, smaller(kNR, s.hidden - index * kNR)};
}

// ---- weights ----

// Floats before a block's weights, for each column before it; those of backward are as many or,
// with pairs of an odd number of cells, fewer.
template <class T>
int64_t column_size(const LstmShape& s) {
  return kGates * steps<T>(s.hidden);
}

int64_t packed_size(const LstmShape& s, DType dtype) {
  if (s.hidden <= 0) return 0;
  const CellBlock last = cell_block(s, blocks(s) - 1);
  return with_step(dtype, [&]<class T>() {
    return (last.begin + panel_width(last.columns)) * column_size<T>(s);
  });
}

template <class T, class PackBlock>
void for_blocks(const LstmShape& s, float* packed, const PackBlock& pack_block) {
  parallel_for(blocks(s), items_worth(kGrain, kGates * s.hidden * kNR),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const CellBlock block = cell_block(s, i);
                   pack_block(block, packed + block.begin * column_size<T>(s));
                 }
               });
}

void pack_forward(const LstmShape& s, const float* w, DType dtype, float* packed) {
  with_step(dtype, [&]<class T>() {
    for_blocks<T>(s, packed, [&](const CellBlock& block, float* out) {
      for (int gate = 0; gate < kGates; ++gate) {
        const Operand w_of_gate{w + gate * s.hidden * s.hidden, s.hidden, true};
        pack_panel<T>(w_of_gate, 0, s.hidden, block.begin, block.columns, out);
        out += steps<T>(s.hidden) * panel_width(block.columns);
      }
    });
  });
}

void pack_backward(const LstmShape& s, const float* w, DType dtype, float* packed) {
  with_step(dtype, [&]<class T>() {
    for_blocks<T>(s, packed, [&](const CellBlock& block, float* out) {
      pack_panel<T>({w, s.hidden, false}, 0, kGates * s.hidden, block.begin, block.columns, out);
    });
  });
}

// ---- threads ----

// body(own, meet) in each thread of one parallel region: its range of blocks, and a function that
// waits for all threads.
template <class Body>
void in_step(const LstmShape& s, const Body& body) {
  const double work = static_cast<double>(s.batch) * kGates * s.hidden * s.hidden;
  const bool alone = work < kParallelStep || work * s.steps < kParallelWork;
  Barrier barrier;
  parallel(alone ? 1 : static_cast<int>(smaller(num_threads(), blocks(s))),
           [&](int thread, int threads) {
             body(part_of(blocks(s), thread, threads), [&] { barrier.wait(threads); });
           });
}

// f(block) for each of a thread's blocks, in reverse at every other step.
template <class F>
PYDL_INLINE void for_own_blocks(const LstmShape& s, Range own, int64_t step, const F& f) {
  for (int64_t i = own.begin; i < own.end; ++i) {
    f(cell_block(s, step % 2 ? own.begin + own.end - 1 - i : i));
  }
}

// f(n, cell, lanes) for each vector of a thread's cells, in each of N sequences.
template <class F>
PYDL_INLINE void for_own_cells(const LstmShape& s, Range own, const F& f) {
  const int64_t begin = own.begin * kNR, end = smaller(own.end * kNR, s.hidden);
  for (int64_t n = 0; n < s.batch; ++n) {
    for_each_vector(begin, end, [&](int64_t cell, int64_t lanes) { f(n, cell, lanes); });
  }
}

template <class T>
using Runner = TileRunner<T, TileA::kRows>;

// ---- forward ----

template <class T>
struct ForwardStep {
  const float *cont, *next_cont;  // (N); null after the last step
  const T* past;                  // (N, H)
  const float* c_before;
  float *gates, *c;
  T *h, *next_past;
};

template <class T>
void own_cells_forward(const LstmShape& s, const ForwardStep<T>& step, Range own) {
  for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
    const int64_t at = n * s.hidden + cell;
    const float cont = step.cont[n];
    float *gate_i = step.gates + n * s.gate_stride + cell, *gate_f = gate_i + s.hidden;
    float *gate_o = gate_f + s.hidden, *gate_g = gate_o + s.hidden;
    const Vec i = sigmoid(load_some(gate_i, lanes)), o = sigmoid(load_some(gate_o, lanes));
    const Vec f = cont == 0 ? Vec{} : cont * sigmoid(load_some(gate_f, lanes));
    const Vec g = tanh(load_some(gate_g, lanes));
    const Vec c = f * load_some(step.c_before + at, lanes) + i * g;
    const Vec h = o * tanh(c);
    store_some(gate_i, i, lanes);
    store_some(gate_f, f, lanes);
    store_some(gate_o, o, lanes);
    store_some(gate_g, g, lanes);
    store_some(step.c + at, c, lanes);
    store_some(step.h + at, h, lanes);
    if (!step.next_past) return;
    const Vec stored_h = load_some(step.h + at, lanes);  // rounded
    store_some(step.next_past + at, step.next_cont[n] * stored_h, lanes);
  });
}

template <class T>
void forward(const LstmShape& s, const float* packed, const float* cont, const float* h0,
             const float* c0, float* gates, T* past, float* c, T* h) {
  if (s.steps == 0) return;
  const int64_t size = s.batch * s.hidden, gates_size = s.batch * s.gate_stride;
  in_step(s, [&](Range own, const auto& meet) {
    for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
      const int64_t at = n * s.hidden + cell;
      store_some(past + at, cont[n] * load_some(h0 + at, lanes), lanes);
    });
    Runner<T> runner;
    for (int64_t t = 0; t < s.steps; ++t) {
      meet();
      const bool last = t + 1 == s.steps;
      const ForwardStep<T> step{cont + t * s.batch,     last ? nullptr : cont + (t + 1) * s.batch,
                                past + t * size,        t == 0 ? c0 : c + (t - 1) * size,
                                gates + t * gates_size, c + t * size,
                                h + t * size,           last ? nullptr : past + (t + 1) * size};
      for_own_blocks(s, own, t, [&](const CellBlock& block) {
        const float* panel = packed + block.begin * column_size<T>(s);
        for (int gate = 0; gate < kGates; ++gate) {
          multiply_panel(&runner, s.batch, s.hidden, step.past, s.hidden, panel, 1,
                         step.gates + gate * s.hidden + block.begin, s.gate_stride, block.columns);
          panel += steps<T>(s.hidden) * panel_width(block.columns);
        }
      });
      runner.flush();
      own_cells_forward(s, step, own);
    }
  });
}

// ---- backward ----

template <class T>
struct BackwardStep {
  const float* next_cont;     // (N); null at the last step
  const float *c_before, *c;  // (N, H)
  const float* gates;
  const T* dh;
  T* dgates;
  float* sum;            // (N, 4 H), over the steps from this one on
  const float* next_dh;  // (N, H): what the next step gives back to h, before cont
  float* dc;             // (N, H): the next step's gift to c in, this one's to c_before out
};

template <class T>
void own_cells_backward(const LstmShape& s, const BackwardStep<T>& step, Range own) {
  for_own_cells(s, own, [&](int64_t n, int64_t cell, int64_t lanes) {
    const int64_t at = n * s.hidden + cell;
    const float* gate = step.gates + n * s.gate_stride + cell;
    // A thread's part of the next row begins elsewhere: the hardware would find it late.
    for (int which = 0; which < kGates; ++which) {
      __builtin_prefetch(gate + s.gate_stride + which * s.hidden);
    }
    __builtin_prefetch(step.dh + at + s.hidden);
    __builtin_prefetch(step.c + at + s.hidden);
    __builtin_prefetch(step.c_before + at + s.hidden);
    T* dgate = step.dgates + n * s.gate_stride + cell;
    float* sum = step.sum + n * kGates * s.hidden + cell;
    const auto activation = [&](int which) { return load_some(gate + which * s.hidden, lanes); };
    const auto put = [&](int which, Vec gradient) {
      store_some(dgate + which * s.hidden, gradient, lanes);
      if (step.next_cont) gradient += load_some(sum + which * s.hidden, lanes);
      store_some(sum + which * s.hidden, gradient, lanes);
    };
    const Vec i = activation(0), f = activation(1), o = activation(2), g = activation(3);
    const Vec tanh_c = tanh(load_some(step.c + at, lanes));
    Vec dh = load_some(step.dh + at, lanes), dc{};
    if (step.next_cont) {
      dh += step.next_cont[n] * load_some(step.next_dh + at, lanes);
      dc = load_some(step.dc + at, lanes);
    }
    dc += dh * o * (1.0f - tanh_c * tanh_c);
    put(0, dc * g * i * (1.0f - i));
    put(1, dc * load_some(step.c_before + at, lanes) * f * (1.0f - f));
    put(2, dh * tanh_c * o * (1.0f - o));
    put(3, dc * i * (1.0f - g * g));
    store_some(step.dc + at, dc * f, lanes);
  });
}

template <class T>
void backward(const LstmShape& s, const float* packed, const float* cont, const float* c0,
              const float* gates, const float* c, const T* dh, T* dgates, float* sum) {
  const int64_t size = s.batch * s.hidden, gates_size = s.batch * s.gate_stride;
  if (s.steps == 0) std::memset(sum, 0, kGates * size * sizeof(float));
  const Scratch scratch(aligned_size(size) + size);
  float *dc = scratch.data(), *next_dh = dc + aligned_size(size);
  in_step(s, [&](Range own, const auto& meet) {
    Runner<T> runner;
    for (int64_t t = s.steps - 1; t >= 0; --t) {
      const bool last = t + 1 == s.steps;
      const BackwardStep<T> step{last ? nullptr : cont + (t + 1) * s.batch,
                                 t == 0 ? c0 : c + (t - 1) * size,
                                 c + t * size,
                                 gates + t * gates_size,
                                 dh + t * size,
                                 dgates + t * gates_size,
                                 sum,
                                 next_dh,
                                 dc};
      if (!last) {
        const T* next_dgates = step.dgates + gates_size;
        for_own_blocks(s, own, t, [&](const CellBlock& block) {
          multiply_panel(&runner, s.batch, kGates * s.hidden, next_dgates, s.gate_stride,
                         packed + block.begin * column_size<T>(s), 0, next_dh + block.begin,
                         s.hidden, block.columns);
        });
        runner.flush();
      }
      own_cells_backward(s, step, own);
      meet();
    }
  });
}

}  // namespace

const LstmKernels lstm = {packed_size, pack_forward, pack_backward, PYDL_TYPED(forward),
                          PYDL_TYPED(backward)};

}  // namespace pydl::kernels::PYDL_ISA
