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

// ---- rows: products and distances ----

void dots(int64_t rows, int64_t dim, const float* a, const float* b, double* out) {
  const auto add_up = [](const Vec* v, const Vec*, Vec* sum) { sum[0] += v[0] * v[1]; };
  sum_plain<1>({1, rows, dim}, pointers(a, b), Pointers<0>{}, add_up, out, kNoOutput);
}

void combine_rows(int64_t rows, int64_t dim, const float* f, const float* a, const float* g,
                  const float* b, bool add, float* y) {
  const Channels s{1, rows, dim};
  if (add) {
    map_rows<false>(s, rows, dim, Pointers<3>{{a, b, y}}, pointers(f, g), y,
                    [](const Vec* v, const Vec* p) { return p[0] * v[0] + p[1] * v[1] + v[2]; });
  } else {
    map_rows<false>(s, rows, dim, pointers(a, b), pointers(f, g), y,
                    [](const Vec* v, const Vec* p) { return p[0] * v[0] + p[1] * v[1]; });
  }
}

// body(f): f(v) = v^exponent for v >= 0.
template <class Body>
PYDL_INLINE void with_power(float exponent, const Body& body) {
  if (exponent == 0) return body([](Vec) { return broadcast(1.0f); });
  if (exponent == 1) return body([](Vec v) { return v; });
  if (exponent == 2) return body([](Vec v) { return v * v; });
  body(Power(exponent));
}

void powers(int64_t rows, int64_t dim, const float* a, const float* b, float eps, float p,
            double* out) {
  with_power(p, [=](const auto& raised) {
    const auto add_up = [=](const Vec* v, const Vec*, Vec* sum) {
      sum[0] += raised(abs(v[0] - v[1] + eps));
    };
    sum_plain<1>({1, rows, dim}, pointers(a, b), Pointers<0>{}, add_up, out, kNoOutput);
  });
}

void power_slopes(int64_t rows, int64_t dim, const float* factor, const float* a, const float* b,
                  float eps, float p, bool add, float* y) {
  with_power(p - 1, [=](const auto& raised) {
    const auto slope = [=](const Vec* v, const Vec* q) {
      const Vec e = v[0] - v[1] + eps, size = abs(e);
      const VecI sign = (VecI)e & broadcast(INT32_MIN);
      const Vec d = q[0] * (Vec)((VecI)raised(size) | sign);
      return select(size > 0.0f, d, Vec{}) + (add ? v[2] : Vec{});
    };
    map_rows<false>({1, rows, dim}, rows, dim, Pointers<3>{{a, b, add ? y : a}}, pointers(factor),
                    y, slope);
  });
}

// ---- Kullback-Leibler divergence ----

PYDL_INLINE Vec weight_at(const float* w, int64_t i, int64_t lanes) {
  return w ? load_some(w + i, lanes) : broadcast(1.0f);
}

double kl_divergence(int64_t n, const float* x, const float* t, const float* w, bool log_target) {
  const bool weighs = w != nullptr;
  const auto add_up = [=](const Vec* v, const Vec*, Vec* sum) {
    const Vec value = log_target ? exp(v[1]) * (v[1] - v[0])
                                 : select(v[1] == 0.0f, Vec{}, v[1] * (log(v[1]) - v[0]));
    sum[0] += weighs ? v[2] * value : value;
  };
  double total = 0;
  sum_plain<1>({1, 1, n}, pointers(x, t, weighs ? w : x), Pointers<0>{}, add_up, &total, kNoOutput);
  return total;
}

void kl_divergence_backward(int64_t n, const float* x, const float* t, const float* w,
                            bool log_target, float scale, float* dx, float* dt) {
  parallel_for_vectors(n, kMathGrain, [=](int64_t i, int64_t lanes) {
    const Vec factor = scale * weight_at(w, i, lanes), target = load_some(t + i, lanes);
    const Vec share = log_target ? exp(target) : target;
    if (dx) store_some(dx + i, -factor * share, lanes);
    if (!dt) return;
    const Vec slope = (log_target ? target : log(target)) - load_some(x + i, lanes) + 1.0f;
    store_some(dt + i, factor * (log_target ? slope * share : slope), lanes);
  });
}

// ---- focal loss ----

struct Focal {
  float alpha, gamma;
  Power power;
  Focal(float a, float g) : alpha(a), gamma(g), power(g) {}

  PYDL_INLINE Vec raised(Vec q) const {
    if (gamma == 2) return q * q;
    return power(q);
  }
  PYDL_INLINE Vec balance(Vec t) const {
    return alpha < 0 ? broadcast(1.0f) : alpha * t + (1 - alpha) * (1.0f - t);
  }
};

// Of a score: the probability and what is left of it, each exact where it is small.
struct Chance {
  Vec p, rest, entropy;
  PYDL_INLINE Chance(Vec v, Vec t) {
    const Vec e = exp(-abs(v)), near = 1.0f / (e + 1.0f), far = e * near;
    const VecI positive = v >= 0.0f;
    p = select(positive, near, far);
    rest = select(positive, far, near);
    entropy = v * (select(positive, broadcast(1.0f), Vec{}) - t) + log1p_of_unit(e);
  }
  PYDL_INLINE Vec miss(Vec t) const { return p * (1.0f - t) + rest * t; }
  PYDL_INLINE Vec excess(Vec t) const { return p * (1.0f - t) - rest * t; }  // p - t
};

double focal(int64_t n, const float* x, const float* t, const float* w, float alpha, float gamma) {
  const Focal f(alpha, gamma);
  const bool weighs = w != nullptr;
  const auto add_up = [=](const Vec* v, const Vec*, Vec* sum) {
    const Chance c(v[0], v[1]);
    const Vec value = f.balance(v[1]) * f.raised(c.miss(v[1])) * c.entropy;
    sum[0] += weighs ? v[2] * value : value;
  };
  double total = 0;
  sum_plain<1>({1, 1, n}, pointers(x, t, weighs ? w : x), Pointers<0>{}, add_up, &total, kNoOutput);
  return total;
}

void focal_backward(int64_t n, const float* x, const float* t, const float* w, float alpha,
                    float gamma, float scale, float* dx) {
  const Focal f(alpha, gamma);
  parallel_for_vectors(n, kMathGrain, [=](int64_t i, int64_t lanes) {
    const Vec target = load_some(t + i, lanes);
    const Chance c(load_some(x + i, lanes), target);
    // q^gamma (p - t) + gamma q^(gamma - 1) q' ce, q' = (1 - 2 t) p (1 - p), which is 0 before q is
    const Vec q = c.miss(target), least = broadcast(1e-30f);
    const Vec ratio = c.p * c.rest / select(q > least, q, least);
    const Vec of_power = gamma * (1.0f - 2.0f * target) * ratio * c.entropy;
    const Vec slope = f.raised(q) * (c.excess(target) + of_power);
    const Vec d = scale * weight_at(w, i, lanes) * f.balance(target) * slope;
    store_some(dx + i, d, lanes);
  });
}

double focal_of_label(int64_t n, const float* p, const float* w, float gamma, float least,
                      float* slope) {
  const Focal f(-1, gamma);
  const auto add_up = [=](const Vec* v, const Vec*, Vec* sum) {
    const Vec chance = select(v[0] < least, broadcast(least), v[0]), logarithm = log(chance);
    const Vec miss = 1.0f - chance, tiny = broadcast(1e-30f);
    const Vec power = f.raised(select(miss < 0.0f, Vec{}, miss));
    sum[0] -= v[1] * power * logarithm;
    const Vec ratio = chance * logarithm / select(miss > tiny, miss, tiny);
    return v[1] * (power - gamma * power * ratio);
  };
  double total = 0;
  sum_plain<1>({1, 1, n}, pointers(p, w), Pointers<0>{}, add_up, &total, slope);
  return total;
}

// ---- total variation ----

// body(row) for the rows of all images.
template <class Body>
PYDL_INLINE void for_each_in_rows(int64_t rows, int64_t w, const Body& body) {
  parallel_for(rows, items_worth(kGrain, w), [&](int64_t begin, int64_t end) PYDL_FLATTEN {
    for (int64_t r = begin; r < end; ++r) body(r);
  });
}

double variation(int64_t n, int64_t h, int64_t w, const float* x, bool squared) {
  const DoubleScratch sums(n * h);
  for_each_in_rows(n * h, w, [&, squared](int64_t r) {
    double total[1] = {0};
    const float* row = x + r * w;
    const auto add_up = [=](const Vec* v, const Vec*, Vec* sum) {
      const Vec d = v[1] - v[0];
      sum[0] += squared ? d * d : abs(d);
    };
    if (w > 1) sum_run<1>(w - 1, pointers(row, row + 1), 0, Vectors<0>{}, add_up, total);
    if (r % h < h - 1) sum_run<1>(w, pointers(row, row + w), 0, Vectors<0>{}, add_up, total);
    sums.data()[r] = total[0];
  });
  double total = 0;
  for (int64_t r = 0; r < n * h; ++r) total += sums.data()[r];
  return total;
}

void variation_backward(int64_t n, int64_t h, int64_t w, const float* x, bool squared, float scale,
                        float* dx) {
  // The slope of a difference d.
  const auto slope = [=](Vec d) {
    const Vec one = broadcast(1.0f);
    return squared ? 2.0f * d : select(d > 0.0f, one, select(d < 0.0f, -one, Vec{}));
  };
  if (w == 0) return;
  for_each_in_rows(n * h, w, [=](int64_t r) {
    const float* row = x + r * w;
    // Where there is no neighbour, the value itself, so that the difference is 0.
    const float *above = r % h > 0 ? row - w : row, *below = r % h < h - 1 ? row + w : row;
    const auto pixels = [=](int64_t i, int64_t lanes, int64_t left, int64_t right) {
      const Vec v = load_some(row + i, lanes);
      const Vec vertical =
          slope(v - load_some(above + i, lanes)) + slope(v - load_some(below + i, lanes));
      const Vec horizontal = slope(v - load_some(row + i + left, lanes)) +
                             slope(v - load_some(row + i + right, lanes));
      store_some(dx + r * w + i, scale * (vertical + horizontal), lanes);
    };
    pixels(0, 1, 0, w > 1 ? 1 : 0);
    for_each_vector(1, w - 1, [=](int64_t i, int64_t lanes) { pixels(i, lanes, -1, 1); });
    if (w > 1) pixels(w - 1, 1, -1, 0);
  });
}

}  // namespace

const LossKernels loss = {squared_distances,
                          scaled_differences,
                          hinge,
                          hinge_backward,
                          sigmoid_loss,
                          sigmoid_backward,
                          smooth_l1,
                          smooth_l1_backward,
                          dots,
                          combine_rows,
                          powers,
                          power_slopes,
                          kl_divergence,
                          kl_divergence_backward,
                          focal,
                          focal_backward,
                          focal_of_label,
                          variation,
                          variation_backward};

}  // namespace pydl::kernels::PYDL_ISA
