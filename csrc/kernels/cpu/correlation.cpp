// Correlations as batch-reduced products (Georganas et al. 2019, arXiv:1906.06440).
//
// In a window of the source (cpu/window.h) the taps and channels that meet a row of outputs are
// runs of memory, so the window serves as the A operand in place and no im2col matrix is ever made.
#include "kernels/correlation.h"

#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/window.h"

namespace pydl::kernels::PYDL_ISA {

extern const CorrelationKernels correlation;

namespace {

// ---- packed weights: per group and panel of output channels, (taps, ic, width) ----

int64_t depth(const Correlation& c) { return c.taps() * c.ic; }

int64_t packed_group_size(const Correlation& c) {
  const int64_t rest = c.oc % kNR;
  return aligned_size(depth(c) * (c.oc - rest + (rest ? panel_width(rest) : 0)));
}

int64_t packed_size(const Correlation& c) { return c.group * packed_group_size(c); }

// f(row, offset) for each row (tap, channel) of a packed panel and its offset in the plain weights.
template <class F>
PYDL_INLINE void for_rows(const Correlation& c, const WeightMap& m, const F& f) {
  int64_t row = 0;
  for (int64_t t0 = 0; t0 < c.axis[0].taps; ++t0) {
    for (int64_t t1 = 0; t1 < c.axis[1].taps; ++t1) {
      for (int64_t t2 = 0; t2 < c.axis[2].taps; ++t2) {
        const int64_t tap = t0 * m.tap[0] + t1 * m.tap[1] + t2 * m.tap[2];
        for (int64_t k = 0; k < c.ic; ++k) f(row++, tap + k * m.ic);
      }
    }
  }
}

// f(panel's first channel, its channels, its packed weights, the plain weights' offset), threaded.
template <class F>
void for_panels(const Correlation& c, const WeightMap& m, const F& f) {
  const int64_t panels = ceil_div(c.oc, kNR);
  const int64_t grain = ceil_div(20000, larger(depth(c) * kNR, 1));
  parallel_for(c.group * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t g = p / panels, j = p % panels * kNR;
      f(smaller(kNR, c.oc - j), g * packed_group_size(c) + j * depth(c),
        m.first + g * m.group + j * m.oc);
    }
  });
}

void pack(const Correlation& c, const WeightMap& m, const float* w, float* packed) {
  for_panels(c, m, [&](int64_t columns, int64_t at, int64_t offset) {
    const int64_t width = panel_width(columns);
    for_rows(c, m, [&](int64_t row, int64_t of_row) {
      float* out = packed + at + row * width;
      const float* from = w + offset + of_row;
      for (int64_t v = 0; v < columns; ++v) out[v] = from[v * m.oc];
      for (int64_t v = columns; v < width; ++v) out[v] = 0;
    });
  });
}

// dw += the sum of `parts` packed gradients.
void unpack_sum(const Correlation& c, const WeightMap& m, float* packed, int64_t parts, float* dw) {
  const int64_t size = packed_size(c);
  for_panels(c, m, [&](int64_t columns, int64_t at, int64_t offset) {
    const int64_t width = panel_width(columns);
    float* total = packed + at;
    for (int64_t part = 1; part < parts; ++part) {
      const float* more = total + part * size;
      for (int64_t i = 0; i < depth(c) * width; i += kLanes) {
        store(total + i, load(total + i) + load(more + i));
      }
    }
    for (int64_t v = 0; v < columns; ++v) {
      for_rows(c, m, [&](int64_t row, int64_t of_row) {
        dw[offset + v * m.oc + of_row] += total[row * width + v];
      });
    }
  });
}

// Taps whose channels follow one another in the window are one run: all of axis 2, if they are
// neighbours there.
struct Runs {
  int64_t per_row, size;  // runs of one (t0, t1), and their floats
};

Runs runs_of(const Correlation& c) {
  const CorrelationAxis& a = c.axis[2];
  return a.tap_step == 1 ? Runs{smaller(a.taps, 1), a.taps * c.ic} : Runs{a.taps, c.ic};
}

// Offset in the window of run `i`.
int64_t run_offset(const Correlation& c, const Units& u, const Runs& runs, int64_t i) {
  const int64_t t2 = i % runs.per_row, t1 = i / runs.per_row % c.axis[1].taps;
  const int64_t t0 = i / runs.per_row / c.axis[1].taps;
  return t0 * u.plane_size + t1 * c.axis[1].tap_step * u.row_size + t2 * c.axis[2].tap_step * c.ic;
}

int64_t run_count(const Correlation& c, const Runs& runs) {
  return c.axis[0].taps * c.axis[1].taps * runs.per_row;
}

// The runs that meet the source on the way to a unit's row r; the others meet padding only. They
// follow one another: over axis 0 where that has taps, else over axis 1.
Range runs_inside(const Correlation& c, const Unit& unit, int64_t r, const Runs& runs) {
  const bool planes = c.axis[0].taps > 1;
  const CorrelationAxis& a = planes ? c.axis[0] : c.axis[1];
  const int64_t output = planes ? unit.plane : unit.row + r;
  const Range taps = indices_inside(a.src_first + output * a.src_step, a.tap_step, a.taps, a.src);
  const int64_t each = planes ? c.axis[1].taps * runs.per_row : runs.per_row;
  return {taps.begin * each, taps.end * each};
}

// Scratch that holds `n` offsets.
constexpr int64_t offsets_size(int64_t n) { return aligned_size(2 * n); }

// ---- forward ----

constexpr int64_t kForwardPixels = 392;

// Every output of a unit is a row of C, made in one go over all runs.
void run_unit(const Correlation& c, const Units& u, const Unit& unit, const Runs& runs,
              const int64_t* offsets, const float* window, const float* packed,
              const Epilogue& epilogue, float beta, float* dst) {
  const CorrelationAxis& a2 = c.axis[2];
  const int tiles = static_cast<int>(ceil_div(unit.columns, kMR));
  TileArgs t;
  t.k = runs.size;
  t.a_stride = u.column_step * c.ic;
  t.ldc = a2.dst_step * c.group * c.oc;
  t.beta = beta;
  for (int64_t g = 0; g < c.group; ++g) {
    for (int64_t j = 0; j < c.oc; j += kNR) {
      t.columns = smaller(kNR, c.oc - j);
      t.epilogue = epilogue.from(g * c.oc + j);
      const float* panel = packed + g * packed_group_size(c) + j * depth(c);
      for (int64_t r = 0; r < unit.rows; ++r) {
        const Range inside = runs_inside(c, unit, r, runs);
        t.taps = inside.end - inside.begin;
        t.tap = offsets + inside.begin;
        t.b = panel + inside.begin * runs.size * panel_width(t.columns);
        const float* row = window + g * u.group_size + r * u.row_step * u.row_size;
        float* out = dst + dst_offset(c, unit, r, g) + j;
        for (int i = 0; i < tiles; ++i) {
          const Range pixels = part_of(unit.columns, i, tiles);
          t.a = row + pixels.begin * t.a_stride;
          t.c = out + pixels.begin * t.ldc;
          run_tile<TileA::kRows>(pixels.end - pixels.begin, t);
        }
      }
    }
  }
}

void run(const Correlation& c, const float* src, const float* packed, const Epilogue& epilogue,
         float beta, float* dst) {
  if (outputs(c) == 0) return;
  const int threads = threads_for(c);
  const Units u = make_units(c, kForwardPixels, threads);
  const Runs runs = runs_of(c);
  const int64_t window_size = c.group * u.group_size, offsets_at = threads * window_size;
  Scratch scratch(offsets_at + offsets_size(run_count(c, runs)));
  int64_t* offsets = reinterpret_cast<int64_t*>(scratch.data() + offsets_at);
  for (int64_t i = 0; i < run_count(c, runs); ++i) offsets[i] = run_offset(c, u, runs, i);
  parallel(threads, [&](int thread, int parts) {
    float* window = scratch.data() + thread * window_size;
    const Range range = part_of(u.count, thread, parts);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const Unit unit = unit_at(c, u, i);
      copy_window(c, u, unit, src, window);
      run_unit(c, u, unit, runs, offsets, window, packed, epilogue, beta, dst);
    }
  });
}

// ---- gradient with respect to the weights ----

constexpr int64_t kWeightsPixels = 256;       // a panel of ddst stays in L1
constexpr int64_t kSmallWeights = 64 * 1024;  // floats

// A job is one run's share of one panel: (runs.size, width) of the packed gradient.
struct Job {
  int64_t group, column, run;
};

Job job_at(const Correlation& c, const Runs& runs, int64_t index) {
  const int64_t count = run_count(c, runs), panels = ceil_div(c.oc, kNR);
  return {index / count / panels, index / count % panels * kNR, index % count};
}

// The rows of a unit that meet the source through a run.
Range rows_inside(const Correlation& c, const Unit& unit, const Runs& runs, int64_t run) {
  const auto& [a0, a1, a2] = c.axis;
  const int64_t t1 = run / runs.per_row % a1.taps, t0 = run / runs.per_row / a1.taps;
  const int64_t plane = a0.src_first + unit.plane * a0.src_step + t0 * a0.tap_step;
  if (plane < 0 || plane >= a0.src) return {0, 0};
  return indices_inside(a1.src_first + unit.row * a1.src_step + t1 * a1.tap_step, a1.src_step,
                        unit.rows, a1.src);
}

// The gradient's rows are channels (taps of a run), the sum runs over a unit's pixels: both
// operands have them as rows, A in the window, B in panels packed from ddst.
void weights_unit(const Correlation& c, const Units& u, const Unit& unit, const Runs& runs,
                  Range jobs, const float* window, const int64_t* row_offsets, const float* ddst,
                  float beta, float* panel, float* gradient) {
  const int tiles = static_cast<int>(ceil_div(runs.size, kMR));
  TileArgs t;
  t.k = unit.columns;
  t.a_stride = u.column_step * c.ic;
  t.beta = beta;
  for (int64_t i = jobs.begin; i < jobs.end; ++i) {
    const Job job = job_at(c, runs, i);
    const int64_t columns = smaller(kNR, c.oc - job.column), width = panel_width(columns);
    if (i == jobs.begin || job.run == 0) {
      for (int64_t r = 0; r < unit.rows; ++r) {
        const float* row = ddst + dst_offset(c, unit, r, job.group) + job.column;
        pack_panel({row, c.axis[2].dst_step * c.group * c.oc, false}, 0, unit.columns, 0, columns,
                   panel + r * unit.columns * width);
      }
    }
    const Range inside = rows_inside(c, unit, runs, job.run);
    if (inside.begin == inside.end && beta != 0) continue;
    t.taps = inside.end - inside.begin;
    t.tap = row_offsets + inside.begin;
    t.b = panel + inside.begin * unit.columns * width;
    t.columns = width;
    t.ldc = width;
    const float* a = window + job.group * u.group_size + run_offset(c, u, runs, job.run);
    float* out = gradient + job.group * packed_group_size(c) + job.column * depth(c) +
                 job.run * runs.size * width;
    for (int m = 0; m < tiles; ++m) {
      const Range rows = part_of(runs.size, m, tiles);
      t.a = a + rows.begin;
      t.c = out + rows.begin * width;
      run_tile<TileA::kColumns>(rows.end - rows.begin, t);
    }
  }
}

// Small gradients: the units are cut into a fixed number of parts, each with a gradient of its own.
// Large ones: every thread goes through all units for its share of the jobs.
void backward_weights(const Correlation& c, const WeightMap& map, const float* src,
                      const float* ddst, float* dw) {
  if (outputs(c) == 0) return;
  const int threads = threads_for(c);
  const Units u = make_units(c, kWeightsPixels, 1);
  const Runs runs = runs_of(c);
  const int64_t jobs = c.group * ceil_div(c.oc, kNR) * run_count(c, runs);
  const int64_t size = packed_size(c);
  const int units_parts =
      size <= kSmallWeights ? static_cast<int>(smaller(u.count, kMostParts)) : 1;
  const int jobs_parts = units_parts > 1 ? 1 : static_cast<int>(smaller(jobs, threads));
  const int64_t window_size = c.group * u.group_size;
  const int64_t panel_size = aligned_size(u.rows * u.columns * kNR);
  const int64_t gradients_at = threads * (window_size + panel_size);
  const int64_t offsets_at = gradients_at + units_parts * size;
  Scratch scratch(offsets_at + offsets_size(u.rows));
  float* gradients = scratch.data() + gradients_at;
  int64_t* row_offsets = reinterpret_cast<int64_t*>(scratch.data() + offsets_at);
  for (int64_t r = 0; r < u.rows; ++r) row_offsets[r] = r * u.row_step * u.row_size;
  parallel(threads, [&](int thread, int got) {
    float* window = scratch.data() + thread * (window_size + panel_size);
    for (int part = thread; part < units_parts * jobs_parts; part += got) {
      const int p = part % units_parts;
      const Range range = part_of(u.count, p, units_parts);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Unit unit = unit_at(c, u, i);
        copy_window(c, u, unit, src, window);
        weights_unit(c, u, unit, runs, part_of(jobs, part / units_parts, jobs_parts), window,
                     row_offsets, ddst, i == range.begin ? 0.0f : 1.0f, window + window_size,
                     gradients + p * size);
      }
    }
  });
  unpack_sum(c, map, gradients, units_parts, dw);
}

}  // namespace

const CorrelationKernels correlation = {packed_size, pack, run, backward_weights};

}  // namespace pydl::kernels::PYDL_ISA
