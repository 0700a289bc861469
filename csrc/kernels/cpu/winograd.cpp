// Winograd convolutions: transforms, products and the blocks of tiles they run on.
//
// Narrow layers are fused: each thread takes a block of tiles from the input to the output, one
// panel of output channels at a time, so that V and M stay in L2. Wide ones go in stages, each over
// a larger block of tiles that all threads share: the input transform, the products (a thread has
// V at one point in L2 while the panels of U pass by, each used for all tiles), the output
// transform. Sums over channels are never cut, so nothing depends on the number of threads.
#include "kernels/winograd.h"

#include "kernels/cpu/winograd_gradient.h"
#include "kernels/cpu/winograd_params.h"
#include "kernels/cpu/winograd_weights.h"

namespace pydl::kernels::PYDL_ISA {

extern const WinogradKernels winograd_2x2, winograd_4x4, winograd_2x2_5x5;

namespace {

template <class F>
int64_t packed_size(const Correlation& c) {
  const Panels<F> panels(c);
  return panels.count * panels.size;
}

// ---- M = V U ----

// At one point: `rows` rows of M, m.data being where the panel's columns start. Meanwhile the panel
// `next` of U comes from memory, a share of it during each register tile.
template <class F>
void multiply(const Correlation& c, const Panel& p, int point, int64_t rows, const float* packed,
              const float* next, const Matrices& v, const Matrices& m) {
  const int tiles = static_cast<int>(ceil_div(rows, kMR));
  TileArgs t;
  t.k = c.ic;
  t.a_stride = v.row;
  t.b = packed + p.u + point * p.point;
  t.later_step = ceil_div(p.width, tiles);
  t.ldc = m.row;
  t.columns = p.width;
  for (int i = 0; i < tiles; ++i) {
    const Range r = part_of(rows, i, tiles);
    t.a = v.data + point * v.point + r.begin * v.row + p.group * c.ic;
    t.c = m.data + point * m.point + r.begin * m.row;
    t.later = next + i * t.later_step * c.ic;
    run_tile<TileA::kRows>(r.end - r.begin, t);
  }
}

// ---- y = A^T M A ----

template <class F, class T>
PYDL_INLINE void output_vector(const Matrices& m, int64_t channel, int64_t n, int64_t rows,
                               int64_t columns, int64_t row_step, int64_t pixel,
                               const Epilogue& epilogue, T* dst) {
  Vec in[F::kPoints][F::kPoints], y[F::kOut][F::kOut];
#pragma GCC unroll 36
  for (int j = 0; j < kPoints2<F>; ++j) {
    in[j / F::kPoints][j % F::kPoints] = load(m.data + j * m.point + channel);
  }
  along_both<F::output>(in, y);
  const Vec bias = epilogue.bias ? load_some(epilogue.bias + channel, n) : Vec{};
#pragma GCC unroll 4
  for (int i = 0; i < F::kOut; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < F::kOut; ++j) {
      if (i >= rows || j >= columns) continue;
      const int64_t to = i * row_step + j * pixel + channel;
      Vec value = y[i][j] + bias;
      if (epilogue.residual) value += load_n(epilogue.residual, to, n);
      if (epilogue.relu) value = relu(value, epilogue.ceiling);
      store_some(dst + to, value, n);
    }
  }
}

// `channels` of one group for the tiles `range`, of which m's first row is the first; dst and the
// epilogue are at the first of these channels.
template <class F, class T>
void transform_output_of(const Correlation& c, const WinogradTiles& tiles, Range range,
                         int64_t channels, Matrices m, const uint8_t* skipped,
                         const Epilogue& epilogue, T* dst) {
  const int64_t height = c.axis[1].dst, width = c.axis[2].dst, pixel = c.group * c.oc;
  for (int64_t i = range.begin; i < range.end; ++i, m.data += m.row) {
    if (skipped[i]) continue;
    const Tile t = tile_at(tiles, i);
    const int64_t to = ((t.image * height + t.row) * width + t.column) * pixel;
    Epilogue of_tile = epilogue;
    of_tile.residual = epilogue.residual_at(to);
    for_each_vector(0, channels, [&](int64_t channel, int64_t n) {
      output_vector<F>(m, channel, n, height - t.row, width - t.column, width * pixel, pixel,
                       of_tile, dst + to);
    });
  }
}

template <class F>
void transform_output(const Correlation& c, const WinogradTiles& tiles, Range range,
                      int64_t channels, const Matrices& m, const uint8_t* skipped,
                      const Epilogue& epilogue, Array dst) {
  with_type(dst, [&](auto* to) {
    transform_output_of<F>(c, tiles, range, channels, m, skipped, epilogue, to);
  });
}

// ---- blocks of tiles ----

struct Problem {
  const Correlation& c;
  WinogradTiles tiles;
  ConstArray src;
  const float* packed;
  const float* zeros;  // as many as a pixel of src has channels
  const Epilogue& epilogue;
  Array dst;
  uint8_t* skipped;
};

template <class F>
void run_fused(const Problem& p, const Panels<F>& panels, int threads) {
  const int blocks = static_cast<int>(
      round_up(ceil_div(p.tiles.count, kFusedTiles), threads));  // as many for each
  const int64_t most = ceil_div(p.tiles.count, blocks);
  Matrices v = make_matrices(nullptr, most, p.c.group * p.c.ic);
  Matrices m = make_matrices(nullptr, most, kNR);
  const int64_t v_size = kPoints2<F> * v.point, size = v_size + kPoints2<F> * m.point;
  const Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int parts) {
    Matrices my_v = v, my_m = m;
    my_v.data = scratch.data() + thread * size;
    my_m.data = my_v.data + v_size;
    const Range mine = part_of(blocks, thread, parts);
    for (int64_t b = mine.begin; b < mine.end; ++b) {
      const Range range = part_of(p.tiles.count, static_cast<int>(b), blocks);
      transform_input<F>(p.c, p.tiles, range, p.src, p.zeros, my_v, p.skipped);
      for (int64_t i = 0; i < panels.count; ++i) {
        const Panel panel = panels.at(i);
        for (int point = 0; point < kPoints2<F>; ++point) {
          const float* next = p.packed + panel.u + (point + 1) * panel.point;
          multiply<F>(p.c, panel, point, range.end - range.begin, p.packed, next, my_v, my_m);
        }
        const int64_t first = panel.group * p.c.oc + panel.column;
        transform_output<F>(p.c, p.tiles, range, panel.columns, my_m, p.skipped,
                            p.epilogue.from(first), at(p.dst, first));
      }
    }
  });
}

template <class F>
void run_staged(const Problem& p, const Panels<F>& panels, int threads) {
  const int64_t in = p.c.group * p.c.ic, out = p.c.group * panels.m_columns;
  const int64_t fit = kStagedFloats / (kPoints2<F> * (in + out));
  const int blocks = static_cast<int>(ceil_div(p.tiles.count, larger(fit, 4 * kMR)));
  const int64_t most = ceil_div(p.tiles.count, blocks);
  Matrices v = make_matrices(nullptr, most, in), m = make_matrices(nullptr, most, out);
  const Scratch scratch(kPoints2<F> * (v.point + m.point));
  v.data = scratch.data();
  m.data = v.data + kPoints2<F> * v.point;
  const int64_t tile_grain = threads > 1 ? 1 : most;
  for (int b = 0; b < blocks; ++b) {
    const Range block = part_of(p.tiles.count, b, blocks);
    const int64_t rows = block.end - block.begin;
    parallel_for(rows, tile_grain, [&](int64_t begin, int64_t end) {
      Matrices part = v;
      part.data += begin * v.row;
      transform_input<F>(p.c, p.tiles, {block.begin + begin, block.begin + end}, p.src, p.zeros,
                         part, p.skipped);
    });
    const int64_t products = kPoints2<F> * panels.count;
    parallel_for(products, threads > 1 ? 1 : products, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Panel panel = panels.at(i % panels.count);
        const int point = static_cast<int>(i / panels.count);
        const Panel after = panels.at((i + 1) % panels.count);
        const float* next = p.packed + after.u + (i + 1) / panels.count * after.point;
        Matrices part = m;
        part.data += panel.m;
        multiply<F>(p.c, panel, point, rows, p.packed, next, v, part);
      }
    });
    parallel_for(rows, tile_grain, [&](int64_t begin, int64_t end) {
      for (int64_t g = 0; g < p.c.group; ++g) {
        Matrices part = m;
        part.data += begin * m.row + g * panels.m_columns;
        transform_output<F>(p.c, p.tiles, {block.begin + begin, block.begin + end}, p.c.oc, part,
                            p.skipped, p.epilogue.from(g * p.c.oc), at(p.dst, g * p.c.oc));
      }
    });
  }
}

template <class F>
bool run(const Correlation& c, ConstArray src, const float* packed, const Epilogue& epilogue,
         Array dst, uint8_t* skipped) {
  const WinogradTiles tiles = winograd_tiles(c, F::kOut);
  if (tiles.count == 0) return false;
  const Panels<F> panels(c);
  const Scratch zeros(c.group * c.ic);
  zero(c.group * c.ic, zeros.data());
  const Problem p{c, tiles, src, packed, zeros.data(), epilogue, dst, skipped};
  const int threads = threads_for(c);
  const bool fused = c.group * c.ic <= kFusedChannels && tiles.count >= kMR * threads;
  fused ? run_fused<F>(p, panels, threads) : run_staged<F>(p, panels, threads);
  bool any = false;
  for (int64_t i = 0; i < tiles.count; ++i) any |= skipped[i] != 0;
  return any;
}

template <class F>
constexpr WinogradKernels kernels_of() {
  return {F::kOut, F::kTaps, packed_size<F>, pack<F>, run<F>, backward_weights<F>};
}

}  // namespace

const WinogradKernels winograd_2x2 = kernels_of<Winograd23>();
const WinogradKernels winograd_4x4 = kernels_of<Winograd43>();
const WinogradKernels winograd_2x2_5x5 = kernels_of<Winograd25>();

}  // namespace pydl::kernels::PYDL_ISA
