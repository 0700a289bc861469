// Activations (activation.h).
#include "kernels/activation.h"

#include "kernels/cpu/apply.h"
#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/philox.h"
#include "kernels/cpu/transpose.h"
#include "kernels/typed.h"

namespace pydl::kernels::PYDL_ISA {

extern const ActivationKernels activation;

namespace {

template <class T>
void relu_forward(int64_t n, const T* x, float negative_slope, T* y) {
  if (negative_slope == 0) {
    // -infinity gives 0, not 0 * infinity.
    map(n, kGrain, y, [](Vec v) { return select(v < 0.0f, Vec{}, v); }, x);
  } else {
    map(n, kGrain, y, [=](Vec v) { return select(v > 0.0f, v, negative_slope * v); }, x);
  }
}

template <class T>
void relu_backward(int64_t n, const T* y, const T* dy, float negative_slope, T* dx) {
  map(
      n, kGrain, dx, [=](Vec out, Vec d) { return select(out > 0.0f, d, negative_slope * d); }, y,
      dy);
}

template <class T>
void sigmoid_forward(int64_t n, const T* x, T* y) {
  map(n, kMathGrain, y, [](Vec v) { return sigmoid(v); }, x);
}

template <class T>
void sigmoid_backward(int64_t n, const T* y, const T* dy, T* dx) {
  map(n, kGrain, dx, [](Vec out, Vec d) { return d * (out * (1.0f - out)); }, y, dy);
}

template <class T>
void tanh_forward(int64_t n, const T* x, T* y) {
  map(n, kMathGrain, y, [](Vec v) { return tanh(v); }, x);
}

template <class T>
void tanh_backward(int64_t n, const T* y, const T* dy, T* dx) {
  // (1 - y)(1 + y): 1 - y^2 would cancel near 1.
  map(n, kGrain, dx, [](Vec out, Vec d) { return d * ((1.0f - out) * (1.0f + out)); }, y, dy);
}

template <class T>
void elu_forward(int64_t n, const T* x, float alpha, T* y) {
  map(n, kMathGrain, y, [=](Vec v) { return select(v > 0.0f, v, alpha * expm1(v)); }, x);
}

template <class T>
void elu_backward(int64_t n, const T* x, const T* y, const T* dy, float alpha, T* dx) {
  map(
      n, kGrain, dx,
      [=](Vec in, Vec out, Vec d) { return select(in > 0.0f, d, d * (out + alpha)); }, x, y, dy);
}

// ---- rare ones ----

void abs_forward(int64_t n, ConstArray x, Array y) {
  apply(n, kGrain, [](Vec v) { return abs(v); }, y, x);
}

void abs_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  const auto slope = [](Vec in, Vec d) {
    return select(in > 0.0f, d, select(in < 0.0f, -d, Vec{}));
  };
  apply(n, kGrain, slope, dx, x, dy);
}

void bnll_forward(int64_t n, ConstArray x, Array y) {
  apply(n, kMathGrain, [](Vec v) { return relu(v) + log1p_of_unit(exp(-abs(v))); }, y, x);
}

void bnll_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  apply(n, kMathGrain, [](Vec in, Vec d) { return d * sigmoid(in); }, dx, x, dy);
}

void clip_forward(int64_t n, ConstArray x, float min, float max, Array y) {
  apply(n, kGrain, [=](Vec v) { return clamp(v, min, max); }, y, x);
}

void clip_backward(int64_t n, ConstArray x, ConstArray dy, float min, float max, Array dx) {
  const auto inside = [=](Vec in, Vec d) { return select((in >= min) & (in <= max), d, Vec{}); };
  apply(n, kGrain, inside, dx, x, dy);
}

void exp_forward(int64_t n, ConstArray x, float scale, float factor, Array y) {
  apply(n, kMathGrain, [=](Vec v) { return factor * exp(scale * v); }, y, x);
}

void exp_backward(int64_t n, ConstArray y, ConstArray dy, float scale, Array dx) {
  apply(n, kGrain, [=](Vec out, Vec d) { return scale * (out * d); }, dx, y, dy);
}

void log_forward(int64_t n, ConstArray x, float scale, float shift, float factor, Array y) {
  apply(n, kMathGrain, [=](Vec v) { return factor * log(scale * v + shift); }, y, x);
}

void log_backward(int64_t n, ConstArray x, ConstArray dy, float scale, float shift, float factor,
                  Array dx) {
  apply(n, kGrain, [=](Vec in, Vec d) { return factor * d / (scale * in + shift); }, dx, x, dy);
}

// body(f): f(v) = v^exponent.
template <class Body>
void with_power(float exponent, const Body& body) {
  if (exponent == 1) return body([](Vec v) { return v; });
  if (exponent == 2) return body([](Vec v) { return v * v; });
  body(Power(exponent));
}

void power_forward(int64_t n, ConstArray x, float scale, float shift, float power, Array y) {
  with_power(power, [=](const auto& raised) {
    apply(n, kMathGrain, [=](Vec v) { return raised(scale * v + shift); }, y, x);
  });
}

void power_backward(int64_t n, ConstArray x, ConstArray dy, float scale, float shift, float power,
                    float factor, Array dx) {
  with_power(power, [=](const auto& raised) {
    const auto slope = [=](Vec in, Vec d) { return factor * d * raised(scale * in + shift); };
    apply(n, kMathGrain, slope, dx, x, dy);
  });
}

template <class T>
void swish_forward(int64_t n, const T* x, float beta, T* y) {
  map(n, kMathGrain, y, [=](Vec v) { return v * sigmoid(beta * v); }, x);
}

template <class T>
void swish_backward(int64_t n, const T* x, const T* dy, float beta, T* dx) {
  const auto slope = [=](Vec in, Vec d) {
    const Vec v = beta * in, s = sigmoid(v);
    return d * (s + v * s * (1.0f - s));
  };
  map(n, kMathGrain, dx, slope, x, dy);
}

void relu6_forward(int64_t n, ConstArray x, float negative_slope, Array y) {
  const auto limited = [=](Vec v) {  // -infinity gives 0, not 0 * infinity
    const Vec left = negative_slope == 0 ? Vec{} : negative_slope * v;
    return select(v > 6.0f, broadcast(6.0f), select(v < 0.0f, left, v));
  };
  apply(n, kGrain, limited, y, x);
}

void relu6_backward(int64_t n, ConstArray y, ConstArray dy, float negative_slope, Array dx) {
  const auto slope = [=](Vec out, Vec d) {
    const Vec left = select(out > 0.0f, Vec{}, negative_slope * d);
    return select((out > 0.0f) & (out < 6.0f), d, left);
  };
  apply(n, kGrain, slope, dx, y, dy);
}

template <class T>
void hard_swish_forward(int64_t n, const T* x, T* y) {
  map(n, kGrain, y, [](Vec v) { return v * clamp(v + 3.0f, 0.0f, 6.0f) * (1.0f / 6); }, x);
}

template <class T>
void hard_swish_backward(int64_t n, const T* x, const T* dy, T* dx) {
  const auto slope = [](Vec in, Vec d) {
    const Vec middle = d * (in * (1.0f / 3) + 0.5f);
    return select(in < -3.0f, Vec{}, select(in > 3.0f, d, middle));
  };
  map(n, kGrain, dx, slope, x, dy);
}

// The gate tanh(log(1 + e)) = w / (w + 2), w = e (e + 2), e = exp(v), is 1 from here on.
PYDL_INLINE Vec mish_limited(Vec v) { return select(v > 20.0f, broadcast(20.0f), v); }

void mish_forward(int64_t n, ConstArray x, Array y) {
  const auto gated = [](Vec v) {
    const Vec e = exp(mish_limited(v)), w = e * (e + 2.0f);
    return v * (w / (w + 2.0f));
  };
  apply(n, kMathGrain, gated, y, x);
}

void mish_backward(int64_t n, ConstArray x, ConstArray dy, Array dx) {
  // gate + v sigmoid(v) (1 - gate^2)
  const auto slope = [](Vec in, Vec d) {
    const Vec v = mish_limited(in);
    const Vec e = exp(v), w = e * (e + 2.0f), scale = 1.0f / (w + 2.0f);
    return d * (w * scale + v * (e / (e + 1.0f)) * (4.0f * (w + 1.0f) * scale * scale));
  };
  apply(n, kMathGrain, slope, dx, x, dy);
}

// The normal distribution up to v: 1/2 + v P(v^2) / Q(v^2), to 2e-7.
PYDL_INLINE Vec normal_cdf(Vec v) {
  constexpr float kLimit = 5.5f;  // beyond it is 0 or 1 to that accuracy
  const Vec c = min(max(v, broadcast(-kLimit)), broadcast(kLimit)), u = c * c;
  Vec p = broadcast(0x1.86d48ep-26f), q = broadcast(0x1.4173dp-20f);
  p = p * u + 0x1.aa48c8p-18f;
  q = q * u + 0x1.34e6eep-14f;
  p = p * u + 0x1.620e62p-13f;
  q = q * u + 0x1.edff84p-10f;
  p = p * u + 0x1.32879p-8f;
  q = q * u + 0x1.d555d6p-6f;
  p = p * u + 0x1.15527p-5f;
  q = q * u + 0x1.018f0ep-2f;
  p = p * u + 0x1.98845p-2f;
  q = q * u + 1.0f;
  return select(v < -kLimit, Vec{}, c * p * reciprocal(q) + 0.5f);
}

constexpr float kGeluScale = 0x1.988454p0f;  // 2 sqrt(2 / pi): (1 + tanh(u)) / 2 = sigmoid(2 u)
constexpr float kGeluCube = 0.044715f * kGeluScale;

PYDL_INLINE Vec gelu_sigmoid(Vec v) { return sigmoid(v * (v * v * kGeluCube + kGeluScale)); }

template <class T>
void gelu_forward(int64_t n, const T* x, bool tanh, T* y) {
  if (tanh) return map(n, kMathGrain, y, [](Vec v) { return v * gelu_sigmoid(v); }, x);
  map(n, kMathGrain, y, [](Vec v) { return v * normal_cdf(v); }, x);
}

template <class T>
void gelu_backward(int64_t n, const T* x, const T* dy, bool tanh, T* dx) {
  const auto of_tanh = [](Vec in, Vec d) {
    const Vec v = clamp(in, -20.0f, 20.0f), s = gelu_sigmoid(v);
    const Vec inner = v * v * (3 * kGeluCube) + kGeluScale;
    return d * (s + v * s * (1.0f - s) * inner);
  };
  const auto exact = [](Vec in, Vec d) {
    const Vec v = clamp(in, -20.0f, 20.0f), bell = exp(v * v * -0.5f);
    return d * (normal_cdf(in) + v * bell * 0x1.988454p-2f);  // 1 / sqrt(2 pi)
  };
  if (tanh) return map(n, kMathGrain, dx, of_tanh, x, dy);
  map(n, kMathGrain, dx, exact, x, dy);
}

void softplus_forward(int64_t n, ConstArray x, float beta, float threshold, Array y) {
  const float scale = 1 / beta;
  const auto soft = [=](Vec in) {
    const Vec v = beta * in;
    return select(v > threshold, in, scale * (relu(v) + log1p_of_unit(exp(-abs(v)))));
  };
  apply(n, kMathGrain, soft, y, x);
}

void softplus_backward(int64_t n, ConstArray x, ConstArray dy, float beta, float threshold,
                       Array dx) {
  const auto slope = [=](Vec in, Vec d) {
    const Vec v = beta * in;
    return select(v > threshold, d, d * sigmoid(v));
  };
  apply(n, kMathGrain, slope, dx, x, dy);
}

constexpr auto kScale = static_cast<float>(kSeluScale);
constexpr auto kLeft = static_cast<float>(kSeluScale * kSeluAlpha);  // -SELU far to the left

void selu_forward(int64_t n, ConstArray x, Array y) {
  const auto scaled = [](Vec v) { return select(v > 0.0f, kScale * v, kLeft * expm1(v)); };
  apply(n, kMathGrain, scaled, y, x);
}

void selu_backward(int64_t n, ConstArray y, ConstArray dy, Array dx) {
  const auto slope = [](Vec out, Vec d) {
    return d * select(out > 0.0f, broadcast(kScale), out + kLeft);
  };
  apply(n, kGrain, slope, dx, y, dy);
}

void threshold(int64_t n, ConstArray x, float limit, Array y) {
  apply(n, kGrain, [=](Vec v) { return select(v > limit, broadcast(1.0f), Vec{}); }, y, x);
}

// ---- with parameters, with random numbers ----

template <class T>
void prelu_forward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* slope,
                   T* y) {
  map_channels({outer, channels, inner}, pointers(x), pointers(slope), y,
               [](const Vec* v, const Vec* p) { return select(v[0] > 0.0f, v[0], p[0] * v[0]); });
}

template <class T>
void prelu_backward(int64_t outer, int64_t channels, int64_t inner, const T* x, const float* slope,
                    const T* dy, T* dx, float* dslope) {
  const Channels s{outer, channels, inner};
  if (dslope) {
    const DoubleScratch sums(channels);
    const auto add_up = [](const Vec* v, const Vec*, Vec* sum) {
      sum[0] += select(v[0] < 0.0f, v[1] * v[0], Vec{});
    };
    sum_channels<1>(s, pointers(x, dy), Pointers<0>{}, add_up, sums.data());
    add_to(channels, sums.data(), dslope);
  }
  if (dx) {
    map_channels(s, pointers(x, dy), pointers(slope), dx,
                 [](const Vec* v, const Vec* p) { return select(v[0] > 0.0f, v[1], p[0] * v[1]); });
  }
}

// ---- of parts of a row ----

// body(row, i, lanes) over the vectors of (rows, n): rows, or pieces of long ones, are shared out.
template <class Body>
PYDL_INLINE void for_each_of_rows(int64_t rows, int64_t n, int64_t grain, const Body& body) {
  constexpr int64_t kPiece = 16384;
  const int64_t pieces = ceil_div(n, kPiece);
  parallel_for(rows * pieces, items_worth(grain, smaller(n, kPiece)),
               [&](int64_t begin, int64_t end) PYDL_FLATTEN {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t r = item / pieces, first = item % pieces * kPiece;
                   for_each_vector(first, smaller(first + kPiece, n),
                                   [&](int64_t i, int64_t lanes) { body(r, i, lanes); });
                 }
               });
}

template <class T>
void glu_forward(int64_t rows, int64_t n, const T* x, T* y) {
  for_each_of_rows(rows, n, kMathGrain, [=](int64_t r, int64_t i, int64_t lanes) {
    const T *a = x + 2 * r * n + i, *b = a + n;
    store_some(y + r * n + i, load_some(a, lanes) * sigmoid(load_some(b, lanes)), lanes);
  });
}

template <class T>
void glu_backward(int64_t rows, int64_t n, const T* x, const T* dy, T* dx) {
  for_each_of_rows(rows, n, kMathGrain, [=](int64_t r, int64_t i, int64_t lanes) {
    const int64_t at = 2 * r * n + i;
    const Vec a = load_some(x + at, lanes), gate = sigmoid(load_some(x + at + n, lanes));
    const Vec d = load_some(dy + r * n + i, lanes) * gate;
    store_some(dx + at, d, lanes);
    store_some(dx + at + n, d * a * (1.0f - gate), lanes);
  });
}

// The larger; NaN wins.
PYDL_INLINE Vec larger_of(Vec a, Vec b) { return select((b > a) | (b != b), b, a); }

template <class T>
void maxout_of_vectors(int64_t rows, int64_t pieces, int64_t n, const T* x, T* y) {
  for_each_of_rows(rows, n, kGrain, [=](int64_t r, int64_t i, int64_t lanes) {
    const T* from = x + r * pieces * n + i;
    Vec most = load_some(from, lanes);
    for (int64_t k = 1; k < pieces; ++k) most = larger_of(most, load_some(from + k * n, lanes));
    store_some(y + r * n + i, most, lanes);
  });
}

template <class T>
void maxout_gradients_of_vectors(int64_t rows, int64_t pieces, int64_t n, const T* x, const T* dy,
                                 T* dx) {
  for_each_of_rows(rows, n, kGrain, [=](int64_t r, int64_t i, int64_t lanes) {
    const T* from = x + r * pieces * n + i;
    T* to = dx + r * pieces * n + i;
    Vec most = load_some(from, lanes);
    VecI where{};
    for (int64_t k = 1; k < pieces; ++k) {
      const Vec v = load_some(from + k * n, lanes);
      where = select((v > most) | ((v != v) & (most == most)), broadcast(static_cast<int32_t>(k)),
                     where);
      most = larger_of(most, v);
    }
    const Vec d = load_some(dy + r * n + i, lanes);
    for (int64_t k = 0; k < pieces; ++k) {
      store_some(to + k * n, select(where == static_cast<int32_t>(k), d, Vec{}), lanes);
    }
  });
}

// Pieces side by side (n = 1), as channels are.
template <class T>
void maxout_of_neighbours(int64_t rows, int64_t pieces, const T* x, T* y) {
  parallel_for(rows, items_worth(kGrain, pieces), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float most = x[r * pieces];
      for (int64_t k = 1; k < pieces; ++k) {
        const float v = x[r * pieces + k];
        most = (v > most) | (v != v) ? v : most;
      }
      y[r] = most;
    }
  });
}

template <class T>
void maxout_gradients_of_neighbours(int64_t rows, int64_t pieces, const T* x, const T* dy, T* dx) {
  parallel_for(rows, items_worth(kGrain, pieces), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float most = x[r * pieces];
      int64_t where = 0;
      for (int64_t k = 1; k < pieces; ++k) {
        const float v = x[r * pieces + k];
        const bool wins = (v > most) | ((v != v) & (most == most));
        where = wins ? k : where;
        most = wins ? v : most;
      }
      const float d = dy[r];
      for (int64_t k = 0; k < pieces; ++k) dx[r * pieces + k] = k == where ? d : 0.0f;
    }
  });
}

// Two pieces: how many of their values lie in the first and in the second of two vectors.
struct Pairs {
  int64_t first, second;
};

// body(r, lanes, pairs): for vectors of rows.
template <class Body>
PYDL_INLINE void for_each_of_pairs(int64_t rows, const Body& body) {
  parallel_for_vectors(rows, kGrain / 2, [=](int64_t r, int64_t lanes) {
    body(r, lanes, Pairs{smaller(2 * lanes, kLanes), larger(0, 2 * lanes - kLanes)});
  });
}

template <class T>
void maxout_of_pairs(int64_t rows, const T* x, T* y) {
  for_each_of_pairs(rows, [=](int64_t r, int64_t lanes, Pairs n) {
    const Vec low = load_some(x + 2 * r, n.first);
    const Vec high = load_some(x + 2 * r + n.first, n.second);
    store_some(y + r, larger_of(each_second<0>(low, high), each_second<1>(low, high)), lanes);
  });
}

template <class T>
void maxout_gradients_of_pairs(int64_t rows, const T* x, const T* dy, T* dx) {
  for_each_of_pairs(rows, [=](int64_t r, int64_t lanes, Pairs n) {
    const Vec low = load_some(x + 2 * r, n.first);
    const Vec high = load_some(x + 2 * r + n.first, n.second);
    const Vec a = each_second<0>(low, high), b = each_second<1>(low, high);
    const VecI second = (b > a) | ((b != b) & (a == a));
    const Vec d = load_some(dy + r, lanes);
    const Vec da = select(second, Vec{}, d), db = select(second, d, Vec{});
    store_some(dx + 2 * r, interleave<false>(da, db), n.first);
    store_some(dx + 2 * r + n.first, interleave<true>(da, db), n.second);
  });
}

template <class T>
void maxout_forward(int64_t rows, int64_t pieces, int64_t n, const T* x, T* y) {
  if (n > 1) return maxout_of_vectors(rows, pieces, n, x, y);
  if (pieces == 2) return maxout_of_pairs(rows, x, y);
  maxout_of_neighbours(rows, pieces, x, y);
}

template <class T>
void maxout_backward(int64_t rows, int64_t pieces, int64_t n, const T* x, const T* dy, T* dx) {
  if (n > 1) return maxout_gradients_of_vectors(rows, pieces, n, x, dy, dx);
  if (pieces == 2) return maxout_gradients_of_pairs(rows, x, dy, dx);
  maxout_gradients_of_neighbours(rows, pieces, x, dy, dx);
}

template <class T>
void dropout(int64_t n, const T* x, float ratio, float scale, uint64_t seed, uint64_t stream,
             T* y) {
  for_each_draw(n, seed, stream, [=](VecI word, int64_t i, int64_t lanes) {
    const Vec v = scale * load_some(x + i, lanes);
    store_some(y + i, select(uniform_draw(word) < ratio, Vec{}, v), lanes);
  });
}

// Where the mask's elements for row `row` (all axes but the last) begin.
int64_t mask_offset(const MaskShape& s, int64_t row) {
  int64_t at = 0;
  for (size_t axis = s.sizes.size() - 1; axis-- > 0; row /= s.sizes[axis]) {
    at += row % s.sizes[axis] * s.strides[axis];
  }
  return at;
}

// Without reading what becomes 0, which may be no number.
template <class T>
PYDL_INLINE void scale_or_clear(int64_t n, float factor, const T* x, T* y) {
  if (factor == 0) {
    for_each_vector(0, n, [=](int64_t i, int64_t lanes) { store_some(y + i, Vec{}, lanes); });
  } else {
    const Vec by = broadcast(factor);
    for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
      store_some(y + i, by * load_some(x + i, lanes), lanes);
    });
  }
}

template <class T>
void masked(const MaskShape& s, const T* x, const float* mask, T* y) {
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < s.sizes.size(); ++axis) rows *= s.sizes[axis];
  const int64_t size = s.sizes.back();
  const bool shared = s.strides.back() == 0;
  // Rows that follow each other along the last axis but one need no division for their place.
  const size_t axes = s.sizes.size();
  const int64_t run = axes > 1 ? s.sizes[axes - 2] : 1, step = axes > 1 ? s.strides[axes - 2] : 0;
  parallel_for(rows, items_worth(kGrain, size), [=, &s](int64_t begin, int64_t end) PYDL_FLATTEN {
    int64_t left = 0;
    const float* by = mask;
    for (int64_t row = begin; row < end; ++row, --left, by += step) {
      if (left == 0) {
        by = mask + mask_offset(s, row);
        left = run - row % run;
      }
      const T* from = x + row * size;
      T* to = y + row * size;
      if (shared) {
        scale_or_clear(size, *by, from, to);
        continue;
      }
      for_each_vector(0, size, [=](int64_t i, int64_t lanes) {
        const Vec m = load_some(by + i, lanes), v = load_some(from + i, lanes);
        // All bits where m > 0. A comparison would become a masked load, which Zen 5 takes longer
        // for.
        const VecI kept = (0 - (VecI)m) >> 31;
        store_some(to + i, (Vec)((VecI)(m * v) & kept), lanes);
      });
    }
  });
}

}  // namespace

const ActivationKernels activation = {PYDL_TYPED(relu_forward),
                                      PYDL_TYPED(relu_backward),
                                      PYDL_TYPED(sigmoid_forward),
                                      PYDL_TYPED(sigmoid_backward),
                                      PYDL_TYPED(tanh_forward),
                                      PYDL_TYPED(tanh_backward),
                                      PYDL_TYPED(elu_forward),
                                      PYDL_TYPED(elu_backward),
                                      abs_forward,
                                      abs_backward,
                                      bnll_forward,
                                      bnll_backward,
                                      clip_forward,
                                      clip_backward,
                                      exp_forward,
                                      exp_backward,
                                      log_forward,
                                      log_backward,
                                      power_forward,
                                      power_backward,
                                      PYDL_TYPED(swish_forward),
                                      PYDL_TYPED(swish_backward),
                                      relu6_forward,
                                      relu6_backward,
                                      PYDL_TYPED(hard_swish_forward),
                                      PYDL_TYPED(hard_swish_backward),
                                      mish_forward,
                                      mish_backward,
                                      PYDL_TYPED(gelu_forward),
                                      PYDL_TYPED(gelu_backward),
                                      softplus_forward,
                                      softplus_backward,
                                      selu_forward,
                                      selu_backward,
                                      threshold,
                                      PYDL_TYPED(prelu_forward),
                                      PYDL_TYPED(prelu_backward),
                                      PYDL_TYPED(glu_forward),
                                      PYDL_TYPED(glu_backward),
                                      PYDL_TYPED(maxout_forward),
                                      PYDL_TYPED(maxout_backward),
                                      PYDL_TYPED(dropout),
                                      PYDL_TYPED(masked)};

}  // namespace pydl::kernels::PYDL_ISA
