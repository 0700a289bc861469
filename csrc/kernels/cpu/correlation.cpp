// Correlations as batch-reduced products (Georganas et al. 2019, arXiv:1906.06440).
//
// In a window of the source (cpu/window.h) the taps and channels that meet a row of outputs are
// runs of memory, so the window serves as the A operand in place and no im2col matrix is ever made.
#include "kernels/correlation.h"

#include "kernels/cpu/gemm_amx.h"
#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/window.h"

namespace pydl::kernels::PYDL_ISA {

extern const CorrelationKernels correlation;

namespace {

// Taps whose channels follow one another in the window are one run: all of axis 2, if they are
// neighbours there.
struct Runs {
  int64_t per_row, size;  // runs of one (t0, t1), and their elements
};

Runs runs_of(const Correlation& c, int64_t pitch) {
  const CorrelationAxis& a = c.axis[2];
  return a.tap_step == 1 && pitch == c.ic ? Runs{smaller(a.taps, 1), a.taps * c.ic}
                                          : Runs{a.taps, c.ic};
}

int64_t run_count(const Correlation& c, const Runs& runs) {
  return c.axis[0].taps * c.axis[1].taps * runs.per_row;
}

// ---- packed weights: per group and panel of output channels, (runs, steps(run), width) ----
//
// Their gradient is packed alike, in rows of one element: (runs, run, width) = (taps, ic, width).

int64_t depth(const Correlation& c) { return c.taps() * c.ic; }

template <class T>
int64_t depth_in_steps(const Correlation& c) {
  const Runs runs = runs_of(c, c.ic);
  return run_count(c, runs) * steps<T>(runs.size);
}

// With panels of so many rows.
int64_t group_size(const Correlation& c, int64_t rows) {
  const int64_t rest = c.oc % kNR;
  return aligned_size(rows * (c.oc - rest + (rest ? panel_width(rest) : 0)));
}

int64_t packed_size(const Correlation& c, DType src) {
  return c.group * with_step(src, [&]<class T>() { return group_size(c, depth_in_steps<T>(c)); });
}

// f(row, offset) for each row (tap, channel) of a panel and its offset in the plain weights; in an
// order in which these are near each other.
template <class F>
PYDL_INLINE void for_rows(const Correlation& c, const WeightMap& m, const F& f) {
  for (int64_t k = 0; k < c.ic; ++k) {
    int64_t row = k;
    for (int64_t t0 = 0; t0 < c.axis[0].taps; ++t0) {
      for (int64_t t1 = 0; t1 < c.axis[1].taps; ++t1) {
        for (int64_t t2 = 0; t2 < c.axis[2].taps; ++t2, row += c.ic) {
          f(row, t0 * m.tap[0] + t1 * m.tap[1] + t2 * m.tap[2] + k * m.ic);
        }
      }
    }
  }
}

// f(the panel's channels, its offset among panels of so many rows, that of the plain weights),
// threaded.
template <class F>
void for_panels(const Correlation& c, const WeightMap& m, int64_t rows, const F& f) {
  const int64_t panels = ceil_div(c.oc, kNR);
  const int64_t grain = ceil_div(20000, larger(depth(c) * kNR, 1));
  parallel_for(c.group * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t g = p / panels, j = p % panels * kNR;
      f(smaller(kNR, c.oc - j), g * group_size(c, rows) + j * rows,
        m.first + g * m.group + j * m.oc);
    }
  });
}

template <class T>
void pack_typed(const Correlation& c, const WeightMap& m, const float* w, float* packed) {
  constexpr int64_t kSize = StepOf<T>::kSize;
  const int64_t run = runs_of(c, c.ic).size, rows = depth_in_steps<T>(c);
  for_panels(c, m, rows, [&](int64_t columns, int64_t at, int64_t offset) {
    const int64_t width = panel_width(columns);
    T* panel = reinterpret_cast<T*>(packed + at);
    if (columns < width || run % kSize != 0) zero(rows * width * kSize, panel);
    for_rows(c, m, [&](int64_t row, int64_t of_row) {
      const int64_t step = row / run * steps<T>(run) + row % run / kSize;
      T* out = panel + step * width * kSize + row % run % kSize;
      const float* from = w + offset + of_row;
      for (int64_t v = 0; v < columns; ++v) out[v * kSize] = from[v * m.oc];
    });
  });
}

void pack(const Correlation& c, const WeightMap& m, const float* w, DType src, float* packed) {
  with_step(src, [&]<class T>() { pack_typed<T>(c, m, w, packed); });
}

// dw += the sum of `parts` packed gradients.
void unpack_sum(const Correlation& c, const WeightMap& m, float* packed, int64_t parts, float* dw) {
  const int64_t size = c.group * group_size(c, depth(c));
  for_panels(c, m, depth(c), [&](int64_t columns, int64_t at, int64_t offset) {
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

// Offset in the window of run `i`.
int64_t run_offset(const Correlation& c, const Units& u, const Runs& runs, int64_t i) {
  const int64_t t2 = i % runs.per_row, t1 = i / runs.per_row % c.axis[1].taps;
  const int64_t t0 = i / runs.per_row / c.axis[1].taps;
  return t0 * u.plane_size + t1 * c.axis[1].tap_step * u.row_size +
         t2 * c.axis[2].tap_step * u.pitch;
}

// The runs that meet the source on the way to a unit's row r; the others meet padding only. They
// follow one another: over axis 0 where that has taps, else over axis 1.
Range runs_inside(const Correlation& c, const Unit& unit, int64_t r, const Runs& runs) {
  if (c.taps() == 0) return {0, 0};
  const bool planes = c.axis[0].taps > 1;
  const CorrelationAxis& a = planes ? c.axis[0] : c.axis[1];
  const int64_t output = planes ? unit.plane : unit.row + r;
  const Range taps = indices_inside(a.src_first + output * a.src_step, a.tap_step, a.taps, a.src);
  const int64_t each = planes ? c.axis[1].taps * runs.per_row : runs.per_row;
  return {taps.begin * each, taps.end * each};
}

// Scratch, in floats, that holds `n` offsets, or elements of a window.
constexpr int64_t offsets_size(int64_t n) { return aligned_size(2 * n); }
template <class T>
constexpr int64_t elements_size(int64_t n) {
  return aligned_size(ceil_div(n * sizeof(T), sizeof(float)));
}

// ---- forward ----

constexpr int64_t kForwardPixels = 392;

// Every output of a unit is a row of C, made in one go over all runs.
template <class T>
void run_unit(const Correlation& c, const Units& u, const Unit& unit, const Runs& runs,
              const int64_t* offsets, const T* window, const float* packed,
              const Epilogue& epilogue, Array dst) {
  const CorrelationAxis& a2 = c.axis[2];
  using Runner = TileRunner<T, TileA::kRows>;
  const int tiles = static_cast<int>(ceil_div(unit.columns, Runner::kRows));
  Runner runner;
  const int64_t rows = depth_in_steps<T>(c), run_steps = steps<T>(runs.size);
  TileArgsOf<T> t;
  t.k = runs.size;
  t.a_stride = u.column_step * u.pitch;
  t.ldc = a2.dst_step * c.group * c.oc;
  t.beta = epilogue.residual ? 1 : 0;
  t.ld_addend = t.ldc;
  for (int64_t g = 0; g < c.group; ++g) {
    for (int64_t j = 0; j < c.oc; j += kNR) {
      t.columns = smaller(kNR, c.oc - j);
      t.epilogue = epilogue.from(g * c.oc + j);
      const float* panel = packed + g * group_size(c, rows) + j * rows;
      for (int64_t r = 0; r < unit.rows; ++r) {
        const Range inside = runs_inside(c, unit, r, runs);
        t.taps = inside.end - inside.begin;
        t.tap = offsets + inside.begin;
        t.b = panel + inside.begin * run_steps * panel_width(t.columns);
        const T* row = window + g * u.group_size + r * u.row_step * u.row_size;
        const int64_t at_row = dst_offset(c, unit, r, g) + j;
        for (int i = 0; i < tiles; ++i) {
          const Range pixels = part_of(unit.columns, i, tiles);
          t.a = row + pixels.begin * t.a_stride;
          t.c = at(dst, at_row + pixels.begin * t.ldc);
          t.addend = epilogue.residual_at(at_row + pixels.begin * t.ldc);
          runner.run(pixels.end - pixels.begin, t);
        }
      }
    }
  }
  runner.flush();
}

template <class T>
Units forward_units(const Correlation& c, int threads) {
  return make_units(c, kForwardPixels, threads, sizeof(T), c.ic);
}

// One of the shares of a part. scratch: offsets of its runs; behind them a window of the source.
template <class T>
void run_part(const CorrelationPart& part, int share, int shares, int threads, ConstArray src,
              const Epilogue& epilogue, Array dst, float* scratch) {
  const Correlation& c = *part.shape;
  if (outputs(c) == 0) return;
  const Units u = forward_units<T>(c, threads);
  const Runs runs = runs_of(c, c.ic);
  int64_t* offsets = reinterpret_cast<int64_t*>(scratch);
  T* window = reinterpret_cast<T*>(scratch + offsets_size(run_count(c, runs)));
  for (int64_t i = 0; i < run_count(c, runs); ++i) offsets[i] = run_offset(c, u, runs, i);
  const Range range = part_of(u.count, share, shares);
  for (int64_t i = range.begin; i < range.end; ++i) {
    const Unit unit = unit_at(c, u, i);
    copy_window(c, u, unit, src, window);
    run_unit(c, u, unit, runs, offsets, window, part.packed, epilogue, dst);
  }
}

// Part by part: the weights of one stay in cache, those of all might not.
template <class T>
void run_typed(const CorrelationPart* parts, int64_t count, ConstArray src,
               const Epilogue& epilogue, Array dst) {
  const int threads = threads_for(parts, count);
  int64_t size = 0;
  for (int64_t p = 0; p < count; ++p) {
    const Correlation& c = *parts[p].shape;
    if (outputs(c) == 0) continue;
    const int64_t window = elements_size<T>(forward_units<T>(c, threads).image_size);
    size = larger(size, window + offsets_size(run_count(c, runs_of(c, c.ic))));
  }
  Scratch scratch(threads * size);
  parallel(threads, [&](int thread, int got) {
    for (int64_t p = 0; p < count; ++p) {
      // Parts of a single unit take turns.
      const int share = static_cast<int>((thread + p) % got);
      run_part<T>(parts[p], share, got, threads, src, epilogue, dst,
                  scratch.data() + thread * size);
    }
  });
}

void run(const CorrelationPart* parts, int64_t count, ConstArray src, const Epilogue& epilogue,
         Array dst) {
  with_step(src.dtype, [&]<class T>() { run_typed<T>(parts, count, src, epilogue, dst); });
}

// ---- gradient with respect to the weights ----

constexpr int64_t kWeightsPixels = 256;       // a panel of ddst stays in L1
constexpr int64_t kSmallWeights = 64 * 1024;  // floats

// Pixels a multiple of 1 KB apart would meet in few sets of L1.
int64_t window_pitch(const Correlation& c) {
  const bool aliased = window_step(c.axis[2]) * c.ic % 256 == 0;
  return aliased ? c.ic + kLanes : c.ic;
}

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

// What a thread works with on a unit.
template <class T>
struct Workplace {
  T* window;
  T* paired;      // the window in steps: pixels that neighbouring outputs meet, side by side
  int64_t* rows;  // their offsets in `paired`: (rows, images)
  float* panel;   // of ddst, alike
  float* turned;  // two tiles of `paired` with its channels as rows, where tiles take rows only

  static int64_t window_size(const Units& u) {
    return elements_size<T>(u.images * u.image_size + u.column_step * u.pitch);
  }
  static int64_t paired_size(const Units& u) {
    return StepOf<T>::kSize > 1 ? elements_size<T>(StepOf<T>::kSize * u.images * u.image_size) : 0;
  }
  static int64_t panel_size(const Units& u) {
    return aligned_size(u.images * u.rows * steps<T>(u.columns) * kNR);
  }
  static int64_t turned_size(const Units& u) {
    return kRowsOnly<T> ? kLanes * round_up(u.images * u.rows * steps<T>(u.columns), kLanes) : 0;
  }
  static int64_t size(const Units& u) {
    return window_size(u) + paired_size(u) + offsets_size(u.images * u.rows) + panel_size(u) +
           2 * turned_size(u);
  }
  Workplace(const Units& u, float* memory)
      : window(reinterpret_cast<T*>(memory)),
        paired(StepOf<T>::kSize > 1 ? reinterpret_cast<T*>(memory + window_size(u)) : window),
        rows(reinterpret_cast<int64_t*>(memory + window_size(u) + paired_size(u))),
        panel(memory + window_size(u) + paired_size(u) + offsets_size(u.images * u.rows)),
        turned(panel + panel_size(u)) {}
};

// Pairs of elements `distance` apart. Where the second is beyond a row it is not looked at.
inline void pair_window(int64_t n, int64_t distance, const bfloat16* window, bfloat16* pairs) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const VecU v = pairs_of<bfloat16>(load(window + i), load(window + i + distance));
    __builtin_memcpy(pairs + 2 * i, &v, sizeof v);
  }
}
inline void pair_window(int64_t, int64_t, const float*, float*) {}

// gradient (channels, width) = beta gradient + sum over a unit's rows of pixels, by tiles.
template <class T>
class WeightTiles {
 public:
  WeightTiles(const Units& u, const Unit& unit, const Workplace<T>& work)
      : work_(work), row_steps_(steps<T>(unit.columns)), turned_size_(work.turned_size(u)) {
    tile_.k = unit.columns;
    tile_.a_stride = kSize * kSize * u.column_step * u.pitch;
  }

  void run(int64_t channels, Range rows, const T* a, int64_t width, float beta, float* gradient) {
    const int tiles = static_cast<int>(ceil_div(channels, Runner::kRows));
    TileArgsOf<T> t = tile_;
    t.taps = rows.end - rows.begin;
    t.tap = work_.rows + rows.begin;
    t.b = work_.panel + rows.begin * row_steps_ * width;
    t.columns = width;
    t.ldc = width;
    t.beta = beta;
    for (int m = 0; m < tiles; ++m) {
      const Range part = part_of(channels, m, tiles);
      t.a = a + kSize * part.begin;
      t.c = gradient + part.begin * width;
      if constexpr (kRowsOnly<T>) {
        runner_.run(part.end - part.begin, turned(part.end - part.begin, t));
      } else {
        runner_.run(part.end - part.begin, t);
      }
    }
  }

  // What was run is in the gradient, and no longer looks at the panel.
  void flush() { runner_.flush(); }

 private:
  static constexpr int64_t kSize = StepOf<T>::kSize;
  using Runner = TileRunner<T, kRowsOnly<T> ? TileA::kRows : TileA::kColumns>;

#if defined(__AMX_BF16__)
  // The rows of pixels as one, in one of two places: the tile before may still wait in the runner.
  TileArgsOf<T> turned(int64_t channels, const TileArgsOf<T>& t) {
    const int64_t n = t.taps * row_steps_, stride = round_up(n, kLanes);
    float* out = work_.turned + next_ * turned_size_;
    int64_t row = 0, step = 0;
    const auto load_next = [&](int64_t) {
      VecU pairs = (VecU)load(reinterpret_cast<const float*>(t.a + t.tap[row] + step * t.a_stride));
      if (++step == row_steps_) {
        if (t.k % kSize != 0) pairs &= 0xffff;
        step = 0;
        ++row;
      }
      return (Vec)pairs;
    };
    for (int64_t s = 0; s < n; s += kLanes) {
      turn_steps(smaller(kLanes, n - s), channels, load_next, out + s, stride);
    }
    next_ = 1 - next_;
    TileArgsOf<T> rows = t;
    rows.k = kSize * n;
    rows.taps = 1;
    rows.tap = kOneTap;
    rows.a = reinterpret_cast<const T*>(out);
    rows.a_stride = kSize * stride;
    return rows;
  }
  int next_ = 0;
#endif

  const Workplace<T>& work_;
  const int64_t row_steps_, turned_size_;
  TileArgsOf<T> tile_;
  Runner runner_;
};

// The gradient's rows are channels (taps of a run), the sum runs over a unit's pixels: both
// operands have them as rows, A in the window, B in panels packed from ddst: (rows, images) of rows
// of pixels, so that those of a run are one range.
template <class T>
void weights_unit(const Correlation& c, const Units& u, const Unit& unit, const Runs& runs,
                  Range jobs, const Workplace<T>& work, ConstArray ddst, float beta,
                  float* gradient) {
  constexpr int64_t kSize = StepOf<T>::kSize;
  const int64_t row_steps = steps<T>(unit.columns);
  const int64_t image_of_ddst = c.axis[0].dst * c.axis[1].dst * c.axis[2].dst * c.group * c.oc;
  for (int64_t r = 0; r < unit.rows * unit.images; ++r) {
    work.rows[r] =
        kSize * (r / unit.images * u.row_step * u.row_size + r % unit.images * u.image_size);
  }
  WeightTiles<T> weight_tiles(u, unit, work);
  for (int64_t i = jobs.begin; i < jobs.end; ++i) {
    const Job job = job_at(c, runs, i);
    const int64_t columns = smaller(kNR, c.oc - job.column), width = panel_width(columns);
    if (i == jobs.begin || job.run == 0) {
      weight_tiles.flush();
      for (int64_t r = 0; r < unit.rows * unit.images; ++r) {
        const int64_t offset = dst_offset(c, unit, r / unit.images, job.group) +
                               r % unit.images * image_of_ddst + job.column;
        pack_panel<T>({at(ddst, offset), c.axis[2].dst_step * c.group * c.oc, false}, 0,
                      unit.columns, 0, columns, work.panel + r * row_steps * width);
      }
    }
    const Range inside = rows_inside(c, unit, runs, job.run);
    if (inside.begin == inside.end && beta != 0) continue;
    const T* a = work.paired + kSize * (job.group * u.group_size + run_offset(c, u, runs, job.run));
    float* out = gradient + job.group * group_size(c, depth(c)) + job.column * depth(c) +
                 job.run * runs.size * width;
    const Range rows{inside.begin * unit.images, inside.end * unit.images};
    weight_tiles.run(runs.size, rows, a, width, beta, out);
  }
  weight_tiles.flush();
}

// Small gradients: the units are cut into a fixed number of parts, each with a gradient of its own.
// Large ones: every thread goes through all units for its share of the jobs.
template <class T>
void weights_typed(const Correlation& c, const WeightMap& map, ConstArray src, ConstArray ddst,
                   float* dw) {
  const int threads = threads_for(c);
  Units u = make_units(c, kWeightsPixels, 1, sizeof(float), window_pitch(c));
  join_images(c, kWeightsPixels, sizeof(float), &u);
  const Runs runs = runs_of(c, u.pitch);
  const int64_t jobs = c.group * ceil_div(c.oc, kNR) * run_count(c, runs);
  const int64_t size = c.group * group_size(c, depth(c));
  const int units_parts =
      size <= kSmallWeights ? static_cast<int>(smaller(u.count, kMostParts)) : 1;
  const int jobs_parts = units_parts > 1 ? 1 : static_cast<int>(smaller(jobs, threads));
  const int64_t work_size = Workplace<T>::size(u), gradients_at = threads * work_size;
  Scratch scratch(gradients_at + units_parts * size);
  float* gradients = scratch.data() + gradients_at;
  parallel(threads, [&](int thread, int got) {
    const Workplace<T> work(u, scratch.data() + thread * work_size);
    for (int part = thread; part < units_parts * jobs_parts; part += got) {
      const int p = part % units_parts;
      const Range range = part_of(u.count, p, units_parts);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Unit unit = unit_at(c, u, i);
        copy_window(c, u, unit, src, work.window);
        pair_window(u.images * u.image_size, u.column_step * u.pitch, work.window, work.paired);
        weights_unit(c, u, unit, runs, part_of(jobs, part / units_parts, jobs_parts), work, ddst,
                     i == range.begin ? 0.0f : 1.0f, gradients + p * size);
      }
    }
  });
  unpack_sum(c, map, gradients, units_parts, dw);
}

void backward_weights(const Correlation& c, const WeightMap& map, ConstArray src, ConstArray ddst,
                      float* dw) {
  if (outputs(c) == 0) return;
  with_step(src.dtype, [&]<class T>() { weights_typed<T>(c, map, src, ddst, dw); });
}

}  // namespace

const CorrelationKernels correlation = {packed_size, pack, run, backward_weights};

}  // namespace pydl::kernels::PYDL_ISA
