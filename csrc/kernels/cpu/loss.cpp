// Losses and their gradients (loss.h).
#include "kernels/loss.h"

#include <cstring>

#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"

namespace pydl::kernels::PYDL_ISA {

extern const LossKernels loss;

namespace {

constexpr float* kNoOutput = nullptr;

// Rows are the channels of one image.
void squared_distances(int64_t rows, int64_t dim, const float* a, const float* b, double* out) {
  const auto add_up = [](const Vec* v, const Vec*, Vec* sum) {
    const Vec difference = v[0] - v[1];
    sum[0] += difference * difference;
  };
  sum_plain<1>({1, rows, dim}, pointers(a, b), Pointers<0>{}, add_up, out, kNoOutput);
}

void scaled_differences(int64_t rows, int64_t dim, const float* factor, const float* a,
                        const float* b, float* y) {
  map_rows<false>({1, rows, dim}, rows, dim, pointers(a, b), pointers(factor), y,
                  [](const Vec* v, const Vec* p) { return p[0] * (v[0] - v[1]); });
}

// ---- hinge ----

// Blocks of consecutive elements, whatever rows they belong to.
constexpr int64_t kBlock = 4096;

// body(block, first, n) in parallel.
template <class Body>
PYDL_INLINE void for_each_block(int64_t count, const Body& body) {
  parallel_for(ceil_div(count, kBlock), kGrain / kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      body(block, first, smaller(kBlock, count - first));
    }
  });
}

// body(i): for each i of [0, n) such that element first + i is the one at the label of its row.
template <class Body>
PYDL_INLINE void for_each_label(int64_t dim, const float* label, int64_t first, int64_t n,
                                const Body& body) {
  for (int64_t r = first / dim; r * dim < first + n; ++r) {
    const int64_t i = r * dim + static_cast<int64_t>(label[r]) - first;
    if (i >= 0 && i < n) body(i);
  }
}

double hinge_of_block(int64_t n, const float* x, bool squared) {
  double total[1] = {0};
  if (squared) {
    const auto add_up = [](const Vec* v, const Vec*, Vec* sum) {
      const Vec h = relu(v[0] + 1.0f);
      sum[0] += h * h;
    };
    sum_run<1>(n, pointers(x), 0, Vectors<0>{}, add_up, total);
  } else {
    const auto add_up = [](const Vec* v, const Vec*, Vec* sum) { sum[0] += relu(v[0] + 1.0f); };
    sum_run<1>(n, pointers(x), 0, Vectors<0>{}, add_up, total);
  }
  return total[0];
}

double hinge(int64_t rows, int64_t dim, const float* x, const float* label, bool squared) {
  const int64_t count = rows * dim, blocks = ceil_div(count, kBlock);
  const DoubleScratch sums(blocks);
  for_each_block(count, [&](int64_t block, int64_t first, int64_t n) {
    float turned[kBlock];
    std::memcpy(turned, x + first, static_cast<size_t>(n) * sizeof(float));
    for_each_label(dim, label, first, n, [&](int64_t i) { turned[i] = -turned[i]; });
    sums.data()[block] = hinge_of_block(n, turned, squared);
  });
  double total = 0;
  for (int64_t block = 0; block < blocks; ++block) total += sums.data()[block];
  return total;
}

void hinge_backward(int64_t rows, int64_t dim, const float* x, const float* label, bool squared,
                    float scale, float* dx) {
  const Vec one = broadcast(1.0f);
  for_each_block(rows * dim, [&](int64_t, int64_t first, int64_t n) {
    for_each_vector(first, first + n, [&](int64_t i, int64_t lanes) {
      const Vec v = load_some(x + i, lanes) + 1.0f;
      const Vec slope = squared ? 2.0f * relu(v) : select(v > 0.0f, one, Vec{});
      store_some(dx + i, scale * slope, lanes);
    });
    for_each_label(dim, label, first, n, [&](int64_t i) {
      const float v = 1.0f - x[first + i], slope = v > 0 ? 1 : 0;
      dx[first + i] = -scale * (squared ? 2.0f * (v < 0 ? 0 : v) : slope);
    });
  });
}

// ---- sigmoid cross entropy ----

PYDL_INLINE VecI is_valid(Vec target, bool has_ignore, int ignore_label) {
  return has_ignore ? truncate(target) != ignore_label : broadcast(int32_t{-1});
}

double sigmoid_loss(int64_t n, const float* x, const float* target, bool has_ignore,
                    int ignore_label, int64_t* valid) {
  const Vec one = broadcast(1.0f);
  const auto add_up = [=](const Vec* v, const Vec*, Vec* sum) {
    // -(t log s + (1 - t) log (1 - s)), of numbers whose exp cannot overflow.
    const Vec side = select(v[0] >= 0.0f, one, Vec{});
    const Vec entropy = v[0] * (side - v[1]) + log1p_of_unit(exp(-abs(v[0])));
    const VecI counts = is_valid(v[1], has_ignore, ignore_label);
    sum[0] += select(counts, entropy, Vec{});
    sum[1] += select(counts, one, Vec{});
  };
  double totals[2];
  sum_plain<2>({1, 1, n}, pointers(x, target), Pointers<0>{}, add_up, totals, kNoOutput);
  *valid = static_cast<int64_t>(totals[1]);
  return totals[0];
}

void sigmoid_backward(int64_t n, const float* x, const float* target, bool has_ignore,
                      int ignore_label, float scale, float* dx) {
  const auto slope = [=](Vec v, Vec t) {
    return select(is_valid(t, has_ignore, ignore_label), scale * (sigmoid(v) - t), Vec{});
  };
  map(n, kMathGrain, dx, slope, x, target);
}

// ---- smooth L1 ----

// f(d) of loss.h.
PYDL_INLINE Vec smooth_value(Vec d, float square) {
  const Vec size = abs(d);
  return select(size < 1 / square, 0.5f * square * d * d, size - 0.5f / square);
}

// f'(d)
PYDL_INLINE Vec smooth_slope(Vec d, float square) {
  return select(abs(d) < 1 / square, square * d, clamp(d * kInfinity, -1.0f, 1.0f));
}

double smooth_l1(int64_t n, const float* a, const float* b, const float* inner, const float* outer,
                 float sigma) {
  const float square = sigma * sigma;
  double total = 0;
  const auto add_up = [&](const auto& v, const auto& value) {
    sum_plain<1>({1, 1, n}, v, Pointers<0>{}, value, &total, kNoOutput);
  };
  const auto difference = [](const Vec* v) { return v[0] - v[1]; };
  if (inner && outer) {
    add_up(pointers(a, b, inner, outer), [=](const Vec* v, const Vec*, Vec* sum) {
      sum[0] += v[3] * smooth_value(v[2] * difference(v), square);
    });
  } else if (inner || outer) {
    const bool inside = inner != nullptr;
    add_up(pointers(a, b, inside ? inner : outer), [=](const Vec* v, const Vec*, Vec* sum) {
      const Vec d = difference(v);
      sum[0] += inside ? smooth_value(v[2] * d, square) : v[2] * smooth_value(d, square);
    });
  } else {
    add_up(pointers(a, b), [=](const Vec* v, const Vec*, Vec* sum) {
      sum[0] += smooth_value(difference(v), square);
    });
  }
  return total;
}

void smooth_l1_backward(int64_t n, const float* a, const float* b, const float* inner,
                        const float* outer, float sigma, float scale, float* da) {
  const float square = sigma * sigma;
  parallel_for_vectors(n, kGrain, [=](int64_t i, int64_t lanes) {
    const Vec one = broadcast(1.0f), inside = inner ? load_some(inner + i, lanes) : one;
    const Vec weight = outer ? inside * load_some(outer + i, lanes) : inside;
    const Vec d = inside * (load_some(a + i, lanes) - load_some(b + i, lanes));
    store_some(da + i, scale * weight * smooth_slope(d, square), lanes);
  });
}

}  // namespace

const LossKernels loss = {squared_distances, scaled_differences, hinge,     hinge_backward,
                          sigmoid_loss,      sigmoid_backward,   smooth_l1, smooth_l1_backward};

}  // namespace pydl::kernels::PYDL_ISA
