// The gradient of the weights, as the transpose of the forward pass (cpu/winograd.cpp):
//
//   dg = G^T [sum over tiles of (B^T d B) . (A dy A^T)] G
//
// At each point dU (ic, oc) = V^T Y with V (tiles, ic) and Y = A dy A^T in panels (tiles, width).
// It is made in pieces, some rows of some panels at all points, which stay in cache from the
// products to the transform that adds them to dw.
#pragma once

#include "kernels/cpu/tasks.h"
#include "kernels/cpu/winograd_params.h"
#include "kernels/cpu/winograd_weights.h"

namespace pydl::kernels::PYDL_ISA {

// A piece of dU: at each point its panels one after the other, each (rows, width).
struct Piece {
  Range panels;
  int64_t first, rows;
};

struct Pieces {
  Pieces(const Correlation& c, int64_t panels, int64_t rows_each, int64_t panels_each)
      : ic(c.ic),
        panels(panels),
        row_parts(static_cast<int>(ceil_div(ic, rows_each))),
        panel_parts(static_cast<int>(ceil_div(panels, panels_each))),
        count(row_parts * panel_parts),
        panel(ceil_div(ic, row_parts) * kNR),
        point(odd_stride(ceil_div(panels, panel_parts) * panel)) {}

  Piece at(int64_t index) const {
    const Range rows = part_of(ic, static_cast<int>(index % row_parts), row_parts);
    return {part_of(panels, static_cast<int>(index / row_parts), panel_parts), rows.begin,
            rows.end - rows.begin};
  }

  int64_t ic, panels;
  int row_parts, panel_parts;
  int64_t count, panel, point;  // panel, point: strides in a piece
};

// Y of the panels [first, last): at each point one after the other, (tiles, width).
struct GradientPanels {
  float* data;
  int64_t panel, point;  // strides
};

inline GradientPanels make_gradient_panels(float* data, int64_t tiles, int64_t panels) {
  const int64_t panel = tiles * kNR;
  return {data, panel, odd_stride(panels * panel)};
}

// Rows of Y from `row` on for the tiles `range`. Any value that is not finite shows in `seen`.
template <class F, class T>
void transform_gradient_of(const Correlation& c, const WinogradTiles& tiles, Range range,
                           const Panels<F>& panels, Range which, const T* ddst, const float* zeros,
                           const GradientPanels& y, int64_t row, Vec& seen) {
  const int64_t height = c.axis[1].dst, width = c.axis[2].dst, pixel = c.group * c.oc;
  for (int64_t i = range.begin; i < range.end; ++i, ++row) {
    const Tile t = tile_at(tiles, i);
    const auto p = pixels_at<F::kOut>(ddst + t.image * height * width * pixel, height, width, pixel,
                                      t.row, t.column, zeros);
    for (int64_t index = which.begin; index < which.end; ++index) {
      const Panel panel = panels.at(index);
      const int64_t channel = panel.group * c.oc + panel.column;
      float* to = y.data + (index - which.begin) * y.panel + row * panel.width;
      for_each_vector(0, panel.columns, [&](int64_t v, int64_t n) {
        Vec dy[F::kOut][F::kOut], dm[F::kPoints][F::kPoints];
#pragma GCC unroll 16
        for (int j = 0; j < F::kOut * F::kOut; ++j) {
          dy[j / F::kOut][j % F::kOut] = load_some(p.at[j / F::kOut][j % F::kOut] + channel + v, n);
        }
        along_both<F::output_gradient>(dy, dm);
#pragma GCC unroll 36
        for (int j = 0; j < kPoints2<F>; ++j) {
          store(to + j * y.point + v, dm[j / F::kPoints][j % F::kPoints]);
        }
        note_not_finite(dm[1][1], seen);  // the sum of them all, each times a factor
      });
    }
  }
}

template <class F>
void transform_gradient(const Correlation& c, const WinogradTiles& tiles, Range range,
                        const Panels<F>& panels, Range which, ConstArray ddst, const float* zeros,
                        const GradientPanels& y, int64_t row, Vec& seen) {
  with_type(ddst, [&](const auto* from) {
    transform_gradient_of<F>(c, tiles, range, panels, which, from, zeros, y, row, seen);
  });
}

// du = beta du + V^T Y over `tiles` tiles; y starts at the piece's first panel.
template <class F>
void multiply_gradient(const Correlation& c, const Panels<F>& panels, const Pieces& pieces,
                       const Piece& piece, int64_t tiles, const Matrices& v,
                       const GradientPanels& y, float beta, float* du) {
  const int parts = static_cast<int>(ceil_div(piece.rows, kMR));
  TileArgs t;
  t.k = tiles;
  t.a_stride = v.row;
  t.beta = beta;
  for (int point = 0; point < kPoints2<F>; ++point) {
    for (int64_t j = 0; j < piece.panels.end - piece.panels.begin; ++j) {
      const Panel panel = panels.at(piece.panels.begin + j);
      const float* a = v.data + point * v.point + panel.group * c.ic + piece.first;
      float* to = du + point * pieces.point + j * pieces.panel;
      t.b = y.data + point * y.point + j * y.panel;
      t.ldc = t.columns = panel.width;
      for (int i = 0; i < parts; ++i) {
        const Range r = part_of(piece.rows, i, parts);
        t.a = a + r.begin;
        t.c = to + r.begin * panel.width;
        run_tile<TileA::kColumns>(r.end - r.begin, t);
      }
    }
  }
}

// dw += G^T du G
template <class F>
void add_gradient(const WeightMap& map, const Panels<F>& panels, const Pieces& pieces,
                  const Piece& piece, const float* du, float* dw) {
  for (int64_t j = piece.panels.begin; j < piece.panels.end; ++j, du += pieces.panel) {
    const Panel panel = panels.at(j);
    const float* from = du;
    float* to =
        dw + map.first + panel.group * map.group + panel.column * map.oc + piece.first * map.ic;
    for (int64_t k = 0; k < piece.rows; ++k, to += map.ic, from += panel.width) {
      for (int64_t v = 0; v < panel.width; v += kLanes) {
        Vec in[F::kPoints][F::kPoints], g[F::kTaps][F::kTaps], taps[kTaps2<F>];
#pragma GCC unroll 36
        for (int i = 0; i < kPoints2<F>; ++i) {
          in[i / F::kPoints][i % F::kPoints] = load(from + i * pieces.point + v);
        }
        along_both<F::weights_gradient>(in, g);
#pragma GCC unroll 25
        for (int i = 0; i < kTaps2<F>; ++i) taps[i] = g[i / F::kTaps][i % F::kTaps];
        add_taps(taps, map.oc, panel.columns - v, to + v * map.oc);
      }
    }
  }
}

struct GradientProblem {
  const Correlation& c;
  const WeightMap& map;
  WinogradTiles tiles;
  ConstArray src, ddst;
  const float* zeros;
  uint8_t* skipped;  // of each tile: V is not finite
  float* dw;
};

inline bool any_skipped(const uint8_t* skipped, int64_t count) {
  uint8_t any = 0;
  for (int64_t i = 0; i < count; ++i) any |= skipped[i];
  return any != 0;
}

// dU of the whole problem is small: the tiles are cut into a fixed number of parts, each with a dU
// of its own, and a thread keeps a block of V and Y in L2.
template <class F>
bool gradient_fused(const GradientProblem& p, const Panels<F>& panels, const Pieces& pieces,
                    int threads) {
  const int parts = static_cast<int>(smaller(kMostParts, p.tiles.count));
  const int64_t longest = ceil_div(p.tiles.count, parts), tiles = smaller(longest, kFusedTiles);
  Matrices v = make_matrices(nullptr, tiles, p.c.group * p.c.ic);
  GradientPanels y = make_gradient_panels(nullptr, tiles, 1);
  const int64_t piece_size = kPoints2<F> * pieces.point, du_size = pieces.count * piece_size;
  const int64_t v_size = kPoints2<F> * v.point, size = v_size + kPoints2<F> * y.point;
  const Scratch scratch(threads * size + parts * du_size);
  float* all_du = scratch.data() + threads * size;
  int not_finite = 0;
  parallel(threads, [&](int thread, int got) {
    Matrices my_v = v;
    GradientPanels my_y = y;
    my_v.data = scratch.data() + thread * size;
    my_y.data = my_v.data + v_size;
    Vec seen{};
    for (int part = thread; part < parts; part += got) {
      const Range mine = part_of(p.tiles.count, part, parts);
      for (int64_t first = mine.begin; first < mine.end; first += tiles) {
        const Range block{first, smaller(first + tiles, mine.end)};
        transform_input<F>(p.c, p.tiles, block, p.src, p.zeros, my_v, p.skipped);
        for (int64_t i = 0; i < pieces.count; ++i) {
          const Piece piece = pieces.at(i);
          if (piece.first == 0) {
            transform_gradient<F>(p.c, p.tiles, block, panels, piece.panels, p.ddst, p.zeros, my_y,
                                  0, seen);
          }
          multiply_gradient<F>(p.c, panels, pieces, piece, block.end - block.begin, my_v, my_y,
                               first == mine.begin ? 0.0f : 1.0f,
                               all_du + part * du_size + i * piece_size);
        }
      }
    }
    if (any_not_finite(seen)) __atomic_store_n(&not_finite, 1, __ATOMIC_RELAXED);
  });
  if (not_finite || any_skipped(p.skipped, p.tiles.count)) return false;
  parallel_for(pieces.count, threads > 1 ? 1 : pieces.count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece piece = pieces.at(i);
      float* du = all_du + i * piece_size;
      for (int part = 1; part < parts; ++part) {
        const float* more = du + part * du_size;
        for (int64_t j = 0; j < piece_size; j += kLanes)
          store(du + j, load(du + j) + load(more + j));
      }
      add_gradient<F>(p.map, panels, pieces, piece, du, p.dw);
    }
  });
  return true;
}

// Else all threads share a block of tiles and have pieces of their own. With one block, a piece of
// dU lives only in the cache of its thread.
template <class F>
bool gradient_staged(const GradientProblem& p, const Panels<F>& panels, const Pieces& pieces,
                     int threads) {
  const int64_t in = p.c.group * p.c.ic, out = panels.count * kNR;
  const int64_t floats = larger(kStagedGradientFloats, panels.count * panels.size);
  const int64_t fit = floats / (kPoints2<F> * (in + out));
  const int blocks = static_cast<int>(ceil_div(p.tiles.count, larger(fit, 4 * kMR)));
  const int64_t most = ceil_div(p.tiles.count, blocks);
  Matrices v = make_matrices(nullptr, most, in);
  GradientPanels y = make_gradient_panels(nullptr, most, panels.count);
  const int64_t piece_size = kPoints2<F> * pieces.point;
  const int64_t v_size = kPoints2<F> * v.point, y_size = kPoints2<F> * y.point;
  const Scratch scratch(v_size + y_size + (blocks > 1 ? pieces.count * piece_size : 0));
  v.data = scratch.data();
  y.data = v.data + v_size;
  float* all_du = y.data + y_size;
  int not_finite = 0;
  for (int b = 0; b < blocks; ++b) {
    const Range block = part_of(p.tiles.count, b, blocks);
    const int64_t rows = block.end - block.begin;
    parallel_for(rows, threads > 1 ? 1 : rows, [&](int64_t begin, int64_t end) {
      const Range range{block.begin + begin, block.begin + end};
      Matrices part = v;
      part.data += begin * v.row;
      transform_input<F>(p.c, p.tiles, range, p.src, p.zeros, part, p.skipped);
      Vec seen{};
      transform_gradient<F>(p.c, p.tiles, range, panels, {0, panels.count}, p.ddst, p.zeros, y,
                            begin, seen);
      if (any_not_finite(seen)) __atomic_store_n(&not_finite, 1, __ATOMIC_RELAXED);
    });
    if (not_finite || any_skipped(p.skipped + block.begin, rows)) return false;
    const auto body = [&](int64_t begin, int64_t end, float* own) {
      for (int64_t i = begin; i < end; ++i) {
        const Piece piece = pieces.at(i);
        GradientPanels part = y;
        part.data += piece.panels.begin * y.panel;
        float* du = blocks > 1 ? all_du + i * piece_size : own;
        multiply_gradient<F>(p.c, panels, pieces, piece, rows, v, part, b == 0 ? 0.0f : 1.0f, du);
        if (b + 1 == blocks) add_gradient<F>(p.map, panels, pieces, piece, du, p.dw);
      }
    };
    parallel_for_scratch(pieces.count, threads > 1 ? 1 : pieces.count, blocks > 1 ? 0 : piece_size,
                         body);
  }
  return true;
}

template <class F>
bool backward_weights(const Correlation& c, const WeightMap& map, ConstArray src, ConstArray ddst,
                      float* dw) {
  const WinogradTiles tiles = winograd_tiles(c, F::kOut);
  if (tiles.count == 0) return true;
  const Panels<F> panels(c);
  const int64_t channels = c.group * larger(c.ic, c.oc), bytes = sizeof(float);
  const Scratch zeros(channels), flags(ceil_div(tiles.count, bytes));
  zero(channels, zeros.data());
  const GradientProblem p{
      c, map, tiles, src, ddst, zeros.data(), reinterpret_cast<uint8_t*>(flags.data()), dw};
  const int threads = threads_for(c);
  if (panels.count * panels.size <= kFusedGradientFloats) {
    const Pieces pieces(c, panels.count, kFusedGradientRows, 1);
    return gradient_fused<F>(p, panels, pieces, threads);
  }
  const Pieces pieces(c, panels.count, kGradientRows, ceil_div(kGradientColumns, kNR));
  return gradient_staged<F>(p, panels, pieces, threads);
}

}  // namespace pydl::kernels::PYDL_ISA
