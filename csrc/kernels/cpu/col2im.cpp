// Loop order: image (threads): block of outputs, a register tile of rows: panel of (taps, ic):
//
//   columns (rows, taps ic) = ddst (rows, oc) w (oc, taps ic)
//
// then each row is added to the image. The block stays in L1, the weights and the image, in float
// and with its padding, in L2.
#include "kernels/col2im.h"

#include "kernels/cpu/gemm_amx.h"
#include "kernels/cpu/gemm_pack.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/window.h"

namespace pydl::kernels::PYDL_ISA {

extern const Col2imKernels col2im;

namespace {

int64_t columns(const Correlation& c) { return c.taps() * c.ic; }

// ---- packed weights: panels (steps(oc), width) of the columns (taps, ic) ----

int64_t packed_size(const Correlation& c, DType ddst) {
  return aligned_size(with_step(ddst, [&]<class T>() { return panels_size<T>(c.oc, columns(c)); }));
}

// Offset in the plain weights of a column of the first output channel.
int64_t weight_offset(const Correlation& c, const WeightMap& m, int64_t column) {
  int64_t offset = m.first + column % c.ic * m.ic, tap = column / c.ic;
  for (int axis = 2; axis >= 0; --axis) {
    offset += tap % c.axis[axis].taps * m.tap[axis];
    tap /= c.axis[axis].taps;
  }
  return offset;
}

template <class T>
void pack_typed(const Correlation& c, const WeightMap& m, const float* w, float* packed) {
  constexpr int64_t kSize = StepOf<T>::kSize;
  const int64_t n = columns(c), rows = steps<T>(c.oc);
  parallel_for(ceil_div(n, kNR), ceil_div(20000, c.oc * kNR), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * kNR; j < smaller(end * kNR, n); j += kNR) {
      const int64_t in_panel = smaller(kNR, n - j), width = panel_width(in_panel);
      T* panel = reinterpret_cast<T*>(packed + j * rows);
      if (in_panel < width || c.oc % kSize != 0) zero(rows * width * kSize, panel);
      for (int64_t v = 0; v < in_panel; ++v) {
        const float* from = w + weight_offset(c, m, j + v);
        for (int64_t k = 0; k < c.oc; ++k) {
          panel[(k / kSize * width + v) * kSize + k % kSize] = from[k * m.oc];
        }
      }
    }
  });
}

void pack(const Correlation& c, const WeightMap& m, const float* w, DType ddst, float* packed) {
  with_step(ddst, [&]<class T>() { pack_typed<T>(c, m, w, packed); });
}

// ---- an image with all that the taps meet, in float ----

struct Image {
  int64_t first[3], step[3];  // of the source; floats between positions
  int64_t size;
};

Image image_of(const Correlation& c) {
  Image image{};
  image.size = c.ic;
  for (int i = 2; i >= 0; --i) {
    const CorrelationAxis& a = c.axis[i];
    const int64_t met = (a.count - 1) * a.src_step + (a.taps - 1) * a.tap_step + 1;
    image.first[i] = -a.src_first;
    image.step[i] = image.size;
    image.size *= larger(image.first[i] + a.src, met);
  }
  return image;
}

PYDL_INLINE void add_run(const float* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(to + i) + load(from + i));
  if (i < n) store_n(to + i, load_n(to + i, n - i) + load_n(from + i, n - i), n - i);
}

// The columns of output `index` to where its taps are.
void add_columns(const Correlation& c, const Image& m, int64_t index, const float* row,
                 float* image) {
  const auto& [a0, a1, a2] = c.axis;
  float* first = image + index % a2.count * a2.src_step * m.step[2] +
                 index / a2.count % a1.count * a1.src_step * m.step[1] +
                 index / a2.count / a1.count * a0.src_step * m.step[0];
  // Neighbouring taps are one run.
  const bool joined = a2.tap_step == 1;
  const int64_t runs = joined ? 1 : a2.taps, size = joined ? a2.taps * c.ic : c.ic;
  for (int64_t t0 = 0; t0 < a0.taps; ++t0) {
    for (int64_t t1 = 0; t1 < a1.taps; ++t1) {
      float* to = first + t0 * a0.tap_step * m.step[0] + t1 * a1.tap_step * m.step[1];
      for (int64_t t2 = 0; t2 < runs; ++t2, row += size) {
        add_run(row, size, to + t2 * a2.tap_step * m.step[2]);
      }
    }
  }
}

// What the sums are added to.
void start_image(const Correlation& c, const Image& m, const float* bias, float* image) {
  if (!bias) return zero(m.size, image);
  for (int64_t i = 0; i < m.size; i += c.ic) copy(bias, c.ic, image + i);
}

// `at`: of the image's first element in dsrc.
void store_image(const Correlation& c, const Image& m, const float* image, const Epilogue& epilogue,
                 int64_t at, Array dsrc) {
  const int64_t size = c.axis[2].src * c.ic;
  for (int64_t i0 = 0; i0 < c.axis[0].src; ++i0) {
    for (int64_t i1 = 0; i1 < c.axis[1].src; ++i1, at += size) {
      const float* from = image + (m.first[0] + i0) * m.step[0] + (m.first[1] + i1) * m.step[1] +
                          m.first[2] * m.step[2];
      with_type(dsrc, [&](auto* to) {
        for (int64_t i = 0; i < size; i += kLanes) {
          const int64_t n = smaller(kLanes, size - i);
          Vec sum = load_n(from + i, n);
          if (epilogue.residual) sum += load_n(epilogue.residual, at + i, n);
          store_n(to + at + i, epilogue.relu ? relu(sum, epilogue.ceiling) : sum, n);
        }
      });
    }
  }
}

// ---- the products ----

// C (rows, columns) = ddst w, rows ldc floats apart.
template <class T>
void multiply(const Correlation& c, int64_t rows, const T* ddst, const float* packed, float* out,
              int64_t ldc) {
  TileRunner<T, TileA::kRows> runner;
  for (int64_t j = 0; j < columns(c); j += kNR) {
    multiply_panel(&runner, rows, c.oc, ddst, c.oc, packed + j * steps<T>(c.oc), 0, out + j, ldc,
                   smaller(kNR, columns(c) - j));
  }
  runner.flush();
}

template <class T>
void run_typed(const Correlation& c, const T* ddst, const float* packed, const Epilogue& epilogue,
               Array dsrc) {
  using Runner = TileRunner<T, TileA::kRows>;
  constexpr int64_t kBlock = Runner::kRows * (Runner::kJoinsRows ? 2 : 1);
  const Image m = image_of(c);
  const int64_t each = c.axis[0].count * c.axis[1].count * c.axis[2].count;
  const int64_t source = c.axis[0].src * c.axis[1].src * c.axis[2].src * c.ic;
  const int blocks = static_cast<int>(ceil_div(each, kBlock));
  const int64_t ldc = aligned_size(columns(c)), image_size = aligned_size(m.size);
  const int64_t work_size = image_size + kBlock * ldc;
  const int threads = static_cast<int>(smaller(threads_for(c), c.n));
  const Scratch scratch(threads * work_size);
  parallel(threads, [&](int thread, int parts) {
    float *image = scratch.data() + thread * work_size, *block = image + image_size;
    const Range own = part_of(c.n, thread, parts);
    for (int64_t n = own.begin; n < own.end; ++n) {
      start_image(c, m, epilogue.bias, image);
      for (int i = 0; i < blocks; ++i) {
        const Range r = part_of(each, i, blocks);
        multiply<T>(c, r.end - r.begin, ddst + (n * each + r.begin) * c.oc, packed, block, ldc);
        for (int64_t row = r.begin; row < r.end; ++row) {
          add_columns(c, m, row, block + (row - r.begin) * ldc, image);
        }
      }
      store_image(c, m, image, epilogue, n * source, dsrc);
    }
  });
}

void run(const Correlation& c, ConstArray ddst, const float* packed, const Epilogue& epilogue,
         Array dsrc) {
  if (c.n == 0) return;
  with_step(ddst.dtype, [&]<class T>() {
    run_typed<T>(c, static_cast<const T*>(ddst.data), packed, epilogue, dsrc);
  });
}

}  // namespace

const Col2imKernels col2im = {packed_size, pack, run};

}  // namespace pydl::kernels::PYDL_ISA
