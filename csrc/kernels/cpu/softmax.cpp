// Softmax, its gradient, and log losses (softmax.h).
//
// With inner = 1 the lanes of a vector are classes, else positions.
#include "kernels/softmax.h"

#include "kernels/cpu/channels.h"
#include "kernels/cpu/map.h"
#include "kernels/cpu/math.h"

namespace pydl::kernels::PYDL_ISA {

extern const SoftmaxKernels softmax;

namespace {

// ---- classes side by side ----

float row_max(int64_t n, const float* x) {
  Vec most = broadcast(-kInfinity);
  for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
    const Vec v = load_some(x + i, lanes);
    const Vec greater = max(v, most);
    most = lanes == kLanes ? greater : select(iota() < static_cast<int32_t>(lanes), greater, most);
  });
  return max(most);
}

// y = exp(x - most); returns the sum.
float exp_row(int64_t n, const float* x, float most, float* y) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kStretch * kLanes) {
    Vec sums{};
    for_each_vector(begin, smaller(begin + kStretch * kLanes, n), [&](int64_t i, int64_t lanes) {
      const Vec e = exp(load_some(x + i, lanes) - most);
      store_some(y + i, e, lanes);
      sums += lanes == kLanes ? e : select(iota() < static_cast<int32_t>(lanes), e, Vec{});
    });
    total += sum(sums);
  }
  return static_cast<float>(total);
}

void forward_row(int64_t n, const float* x, float* y) {
  const float factor = 1.0f / exp_row(n, x, row_max(n, x), y);
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    store_some(y + i, load_some(y + i, lanes) * factor, lanes);
  });
}

void backward_row(int64_t n, const float* y, const float* dy, float* dx) {
  double dot[1] = {0};
  sum_run<1>(
      n, pointers(y, dy), 0, Vectors<0>{},
      [](const Vec* v, const Vec*, Vec* sum) { sum[0] += v[0] * v[1]; }, dot);
  const float mean = static_cast<float>(dot[0]);
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    store_some(dx + i, load_some(y + i, lanes) * (load_some(dy + i, lanes) - mean), lanes);
  });
}

// ---- positions side by side ----
//
// A strip is up to kStrip positions of all classes; `step` is the distance between classes.

constexpr int64_t kStrip = 16 * kLanes;

// body(at): for each class.
template <class Body>
PYDL_INLINE void for_each_class(int64_t classes, int64_t step, const Body& body) {
  for (int64_t k = 0; k < classes; ++k) body(k * step);
}

void forward_strip(int64_t classes, int64_t step, int64_t n, const float* x, float* y) {
  float most[kStrip], sums[kStrip];
  for (int64_t i = 0; i < n; ++i) {
    most[i] = -kInfinity;
    sums[i] = 0;
  }
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      store_some(most + i, max(load_some(x + at + i, lanes), load_some(most + i, lanes)), lanes);
    });
  });
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      const Vec e = exp(load_some(x + at + i, lanes) - load_some(most + i, lanes));
      store_some(y + at + i, e, lanes);
      store_some(sums + i, load_some(sums + i, lanes) + e, lanes);
    });
  });
  for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
    store_some(sums + i, 1.0f / load_some(sums + i, lanes), lanes);
  });
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      store_some(y + at + i, load_some(y + at + i, lanes) * load_some(sums + i, lanes), lanes);
    });
  });
}

void backward_strip(int64_t classes, int64_t step, int64_t n, const float* y, const float* dy,
                    float* dx) {
  float dot[kStrip];
  for (int64_t i = 0; i < n; ++i) dot[i] = 0;
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      const Vec product = load_some(y + at + i, lanes) * load_some(dy + at + i, lanes);
      store_some(dot + i, load_some(dot + i, lanes) + product, lanes);
    });
  });
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      const Vec d = load_some(dy + at + i, lanes) - load_some(dot + i, lanes);
      store_some(dx + at + i, load_some(y + at + i, lanes) * d, lanes);
    });
  });
}

// body(o, first, n): the positions [first, first + n) of outer index o.
template <class Body>
PYDL_INLINE void for_each_strip(const SoftmaxShape& s, int64_t grain, const Body& body) {
  const int64_t strips = ceil_div(s.inner, kStrip);
  const int64_t worth = items_worth(grain, smaller(kStrip, s.inner) * s.classes);
  parallel_for(s.outer * strips, worth, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % strips * kStrip;
      body(item / strips, first, smaller(kStrip, s.inner - first));
    }
  });
}

// ---- the family's functions ----

void forward(const SoftmaxShape& s, const float* x, float* y) {
  if (s.inner == 1) {
    parallel_for(s.outer, items_worth(kMathGrain, s.classes), [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        forward_row(s.classes, x + o * s.classes, y + o * s.classes);
      }
    });
  } else {
    for_each_strip(s, kMathGrain, [=](int64_t o, int64_t first, int64_t n) {
      const int64_t at = o * s.classes * s.inner + first;
      forward_strip(s.classes, s.inner, n, x + at, y + at);
    });
  }
}

void backward(const SoftmaxShape& s, const float* y, const float* dy, float* dx) {
  if (s.inner == 1) {
    parallel_for(s.outer, items_worth(kGrain, s.classes), [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const int64_t at = o * s.classes;
        backward_row(s.classes, y + at, dy + at, dx + at);
      }
    });
  } else {
    for_each_strip(s, kGrain, [=](int64_t o, int64_t first, int64_t n) {
      const int64_t at = o * s.classes * s.inner + first;
      backward_strip(s.classes, s.inner, n, y + at, dy + at, dx + at);
    });
  }
}

struct Labels {
  const float* label;
  bool has_ignore;
  int ignore;
  const float* class_weight = nullptr;
  const float* position_weight = nullptr;

  // Those from position i on.
  Labels from(int64_t i) const {
    return {label + i, has_ignore, ignore, class_weight,
            position_weight ? position_weight + i : nullptr};
  }
  bool ignored(int64_t i) const { return has_ignore && static_cast<int>(label[i]) == ignore; }
  bool valid(int64_t i) const {
    return !ignored(i) && !(position_weight && position_weight[i] == 0);
  }
  // Of position i; 0 where it is ignored.
  float weight(int64_t i) const {
    if (ignored(i)) return 0;
    const float of_class = class_weight ? class_weight[static_cast<int>(label[i])] : 1;
    return position_weight ? of_class * position_weight[i] : of_class;
  }
};

constexpr int64_t kLossBlock = 1024;

// The weighed sum of -log at the labels of one block of positions; adds the valid ones to *valid.
double block_loss(const SoftmaxShape& s, const float* p, const Labels& labels, float least,
                  int64_t first, int64_t n, int64_t* valid) {
  float picked[kLossBlock], weights[kLossBlock];
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = first + i;
    const bool ignored = labels.ignored(at);
    *valid += labels.valid(at);
    const int64_t k = ignored ? 0 : static_cast<int>(labels.label[at]);
    const float q = p[(at / s.inner * s.classes + k) * s.inner + at % s.inner];
    picked[i] = ignored ? 1.0f : q < least ? least : q;
    weights[i] = labels.weight(at);
  }
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kStretch * kLanes) {
    Vec sums{};
    for_each_vector(begin, smaller(begin + kStretch * kLanes, n), [&](int64_t i, int64_t lanes) {
      const Vec l = log(load_some(picked + i, lanes)) * load_some(weights + i, lanes);
      sums -= lanes == kLanes ? l : select(iota() < static_cast<int32_t>(lanes), l, Vec{});
    });
    total += sum(sums);
  }
  return total;
}

// The sums over items [0, count), taken in parallel and added in order. item_loss(item, *valid)
// returns an item's sum and adds its valid positions to *valid.
template <class ItemLoss>
double sum_items(int64_t count, int64_t grain, int64_t* valid, const ItemLoss& item_loss) {
  const DoubleScratch scratch(2 * count);
  double *sums = scratch.data(), *valids = sums + count;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t part = 0;
      sums[item] = item_loss(item, &part);
      valids[item] = static_cast<double>(part);
    }
  });
  double total = 0, all = 0;
  for (int64_t item = 0; item < count; ++item) {
    total += sums[item];
    all += valids[item];
  }
  *valid = static_cast<int64_t>(all);
  return total;
}

double loss_at_labels(const SoftmaxShape& s, const float* p, const Labels& labels, float least,
                      int64_t* valid) {
  const int64_t count = s.outer * s.inner;
  return sum_items(ceil_div(count, kLossBlock), kMathGrain / kLossBlock, valid,
                   [&](int64_t block, int64_t* part) {
                     const int64_t first = block * kLossBlock;
                     return block_loss(s, p, labels, least, first,
                                       smaller(kLossBlock, count - first), part);
                   });
}

PYDL_INLINE Vec log_of_at_least(Vec p, float least) {
  return log(select(p < least, broadcast(least), p));
}

double sum_of_logs(int64_t n, const float* p, float least) {
  double total[1] = {0};
  sum_run<1>(
      n, pointers(p), 0, Vectors<0>{},
      [=](const Vec* v, const Vec*, Vec* sum) { sum[0] += log_of_at_least(v[0], least); }, total);
  return total[0];
}

// Of n <= kLanes positions from `first` on.
double weighed_logs_of_columns(const SoftmaxShape& s, const float* p, const Labels& labels,
                               int64_t first, int64_t n, float least) {
  Vec weight{};
  for (int64_t i = 0; i < n; ++i) weight[i] = labels.weight(first + i);
  double total = 0;
  for (int64_t begin = 0; begin < s.classes; begin += kStretch) {
    Vec sums{};
    for (int64_t k = begin; k < smaller(begin + kStretch, s.classes); ++k) {
      sums += log_of_at_least(load_some(p + k * s.inner, n), least);
    }
    total += sum(select(weight != 0.0f, weight * sums, Vec{}));
  }
  return total;
}

// The weighed sum of -log over all classes.
double loss_at_all(const SoftmaxShape& s, const float* p, const Labels& labels, float least) {
  int64_t unused = 0;
  if (s.inner == 1) {
    return -sum_items(s.outer, items_worth(kMathGrain, s.classes), &unused,
                      [&](int64_t o, int64_t*) {
                        const float weight = labels.weight(o);
                        const float* row = p + o * s.classes;
                        return weight == 0 ? 0.0 : weight * sum_of_logs(s.classes, row, least);
                      });
  }
  const int64_t pieces = ceil_div(s.inner, kLanes);
  return -sum_items(s.outer * pieces, items_worth(kMathGrain, s.classes * kLanes), &unused,
                    [&](int64_t item, int64_t*) {
                      const int64_t o = item / pieces, at = item % pieces * kLanes;
                      return weighed_logs_of_columns(s, p + o * s.classes * s.inner + at, labels,
                                                     o * s.inner + at,
                                                     smaller(kLanes, s.inner - at), least);
                    });
}

double smoothed_loss(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                     int ignore_label, const float* class_weight, const float* weight,
                     float smoothing, float least, int64_t* valid) {
  const Labels labels{label, has_ignore, ignore_label, class_weight, weight};
  const double at_labels = loss_at_labels(s, p, labels, least, valid);
  if (smoothing == 0) return at_labels;
  const double share = static_cast<double>(smoothing) / static_cast<double>(s.classes);
  return (1 - static_cast<double>(smoothing)) * at_labels +
         share * loss_at_all(s, p, labels, least);
}

double loss(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
            int ignore_label, float least, int64_t* valid) {
  return smoothed_loss(s, p, label, has_ignore, ignore_label, nullptr, nullptr, 0, least, valid);
}

// What is expected of each class, and of the label's.
struct Target {
  float elsewhere, at_label;
  Target(int64_t classes, float smoothing)
      : elsewhere(smoothing / static_cast<float>(classes)), at_label(1 - smoothing + elsewhere) {}
};

void loss_backward_row(int64_t n, const float* p, int64_t k, bool ignored, const Target& target,
                       float scale, float* dx) {
  const float at_label = ignored ? 0 : scale * (p[k] - target.at_label);
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    const Vec d = scale * (load_some(p + i, lanes) - target.elsewhere);
    store_some(dx + i, ignored ? Vec{} : d, lanes);
  });
  if (!ignored) dx[k] = at_label;
}

// labels: of the strip.
void loss_backward_strip(int64_t classes, int64_t step, int64_t n, const float* p,
                         const Labels& labels, const Target& target, float scale, float* dx) {
  const Vec elsewhere = broadcast(target.elsewhere), at_label = broadcast(target.at_label);
  float weights[kStrip];
  for (int64_t i = 0; i < n; ++i) weights[i] = scale * labels.weight(i);
  for (int64_t k = 0; k < classes; ++k) {
    for_each_vector(0, n, [=, &weights](int64_t i, int64_t lanes) {
      const VecI label = truncate(load_some(labels.label + i, lanes));
      const Vec expected = select(label == static_cast<int32_t>(k), at_label, elsewhere);
      Vec d = load_some(weights + i, lanes) * (load_some(p + k * step + i, lanes) - expected);
      if (labels.has_ignore) d = select(label == labels.ignore, Vec{}, d);
      store_some(dx + k * step + i, d, lanes);
    });
  }
}

void weighed_gradient(const SoftmaxShape& s, const float* p, const Labels& labels, float smoothing,
                      float scale, float* dx) {
  const Target target(s.classes, smoothing);
  if (s.inner == 1) {
    parallel_for(s.outer, items_worth(kGrain, s.classes), [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const bool ignored = labels.ignored(o);
        const int64_t k = ignored ? 0 : static_cast<int>(labels.label[o]), at = o * s.classes;
        loss_backward_row(s.classes, p + at, k, ignored, target, scale * labels.weight(o), dx + at);
      }
    });
  } else {
    for_each_strip(s, kGrain, [=](int64_t o, int64_t first, int64_t n) {
      const int64_t at = o * s.classes * s.inner + first;
      loss_backward_strip(s.classes, s.inner, n, p + at, labels.from(o * s.inner + first), target,
                          scale, dx + at);
    });
  }
}

void smoothed_loss_backward(const SoftmaxShape& s, const float* p, const float* label,
                            bool has_ignore, int ignore_label, const float* class_weight,
                            const float* weight, float smoothing, float scale, float* dx) {
  const Labels labels{label, has_ignore, ignore_label, class_weight, weight};
  weighed_gradient(s, p, labels, smoothing, scale, dx);
}

void weighted_backward(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                       int ignore_label, const float* weight, float scale, float* dx) {
  weighed_gradient(s, p, {label, has_ignore, ignore_label, nullptr, weight}, 0, scale, dx);
}

// ---- expected probabilities ----

double soft_loss(const SoftmaxShape& s, const float* p, const float* t, float smoothing,
                 float least) {
  constexpr int64_t kBlock = 4096;
  const int64_t count = s.outer * s.classes * s.inner;
  const float rest = 1 - smoothing, uniform = smoothing / static_cast<float>(s.classes);
  int64_t unused = 0;
  return -sum_items(ceil_div(count, kBlock), kMathGrain / kBlock, &unused,
                    [&](int64_t block, int64_t*) {
                      const int64_t first = block * kBlock;
                      double total[1] = {0};
                      sum_run<1>(
                          smaller(kBlock, count - first), pointers(p, t), first, Vectors<0>{},
                          [=](const Vec* v, const Vec*, Vec* sum) {
                            sum[0] += (rest * v[1] + uniform) * log_of_at_least(v[0], least);
                          },
                          total);
                      return total[0];
                    });
}

void soft_loss_backward_row(int64_t n, const float* p, const float* t, float rest, float uniform,
                            float scale, float* dx) {
  double total[1] = {0};
  sum_run<1>(
      n, pointers(t), 0, Vectors<0>{},
      [=](const Vec* v, const Vec*, Vec* sum) { sum[0] += rest * v[0] + uniform; }, total);
  const float sum = static_cast<float>(total[0]);
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    const Vec q = rest * load_some(t + i, lanes) + uniform;
    store_some(dx + i, scale * (load_some(p + i, lanes) * sum - q), lanes);
  });
}

void soft_loss_backward_strip(int64_t classes, int64_t step, int64_t n, const float* p,
                              const float* t, float rest, float uniform, float scale, float* dx) {
  float sums[kStrip];
  for (int64_t i = 0; i < n; ++i) sums[i] = 0;
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      const Vec q = rest * load_some(t + at + i, lanes) + uniform;
      store_some(sums + i, load_some(sums + i, lanes) + q, lanes);
    });
  });
  for_each_class(classes, step, [&](int64_t at) {
    for_each_vector(0, n, [&](int64_t i, int64_t lanes) {
      const Vec q = rest * load_some(t + at + i, lanes) + uniform;
      const Vec product = load_some(p + at + i, lanes) * load_some(sums + i, lanes);
      store_some(dx + at + i, scale * (product - q), lanes);
    });
  });
}

void soft_loss_backward(const SoftmaxShape& s, const float* p, const float* t, float smoothing,
                        float scale, float* dx) {
  const float rest = 1 - smoothing, uniform = smoothing / static_cast<float>(s.classes);
  if (s.inner == 1) {
    parallel_for(s.outer, items_worth(kGrain, s.classes), [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const int64_t at = o * s.classes;
        soft_loss_backward_row(s.classes, p + at, t + at, rest, uniform, scale, dx + at);
      }
    });
  } else {
    for_each_strip(s, kGrain, [=](int64_t o, int64_t first, int64_t n) {
      const int64_t at = o * s.classes * s.inner + first;
      soft_loss_backward_strip(s.classes, s.inner, n, p + at, t + at, rest, uniform, scale,
                               dx + at);
    });
  }
}

void pick(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
          int ignore_label, float* out) {
  const Labels labels{label, has_ignore, ignore_label};
  parallel_for(s.outer * s.inner, kGrain / 4, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / s.inner * s.classes * s.inner + i % s.inner;
      out[i] = labels.ignored(i) ? 1 : p[first + static_cast<int>(label[i]) * s.inner];
    }
  });
}

void loss_backward(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                   int ignore_label, float scale, float* dx) {
  smoothed_loss_backward(s, p, label, has_ignore, ignore_label, nullptr, nullptr, 0, scale, dx);
}

// ---- infogain: labels weigh all classes ----

// w: the label's row of weights
double infogain_row(int64_t n, const float* p, const float* w, float least) {
  double total[1] = {0};
  sum_run<1>(
      n, pointers(p, w), 0, Vectors<0>{},
      [=](const Vec* v, const Vec*, Vec* sum) { sum[0] -= v[1] * log_of_at_least(v[0], least); },
      total);
  return total[0];
}

// The rows of weights, one per lane, that up to kLanes labels choose; the first where ignored.
class ChosenRows {
 public:
  ChosenRows(const float* weights, int64_t classes, const Labels& labels, int64_t first, int64_t n)
      : valid_(broadcast(int32_t{0})) {
    for (int64_t i = 0; i < kLanes; ++i) {
      const bool ignored = i >= n || labels.ignored(first + i);
      label_[i] = ignored ? 0 : static_cast<int64_t>(labels.label[first + i]);
      row_[i] = weights + label_[i] * classes;
      if (!ignored) valid_[i] = -1;
    }
  }
  VecI valid() const { return valid_; }
  // Element k of each row.
  PYDL_INLINE Vec operator[](int64_t k) const {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = row_[i][k];
    return v;
  }
  // What belongs to each label.
  PYDL_INLINE Vec of(const float* values) const {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = values[label_[i]];
    return v;
  }

 private:
  const float* row_[kLanes];
  int64_t label_[kLanes];
  VecI valid_;
};

// n <= kLanes positions
double infogain_columns(int64_t classes, int64_t step, int64_t n, const float* p,
                        const ChosenRows& w, float least) {
  double total = 0;
  for (int64_t begin = 0; begin < classes; begin += kStretch) {
    Vec sums{};
    for (int64_t k = begin; k < smaller(begin + kStretch, classes); ++k) {
      sums -= w[k] * log_of_at_least(load_some(p + k * step, n), least);
    }
    total += sum(select(w.valid(), sums, Vec{}));
  }
  return total;
}

double infogain(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                int ignore_label, const float* weights, float least, int64_t* valid) {
  const Labels labels{label, has_ignore, ignore_label};
  if (s.inner == 1) {
    return sum_items(s.outer, items_worth(kMathGrain, s.classes), valid,
                     [&](int64_t o, int64_t* part) {
                       if (labels.ignored(o)) return 0.0;
                       ++*part;
                       const float* w = weights + static_cast<int64_t>(label[o]) * s.classes;
                       return infogain_row(s.classes, p + o * s.classes, w, least);
                     });
  }
  const int64_t pieces = ceil_div(s.inner, kLanes);
  return sum_items(s.outer * pieces, items_worth(kMathGrain, s.classes * kLanes), valid,
                   [&](int64_t item, int64_t* part) {
                     const int64_t o = item / pieces, first = item % pieces * kLanes;
                     const int64_t n = smaller(kLanes, s.inner - first);
                     const ChosenRows w(weights, s.classes, labels, o * s.inner + first, n);
                     for (int i = 0; i < kLanes; ++i) *part -= w.valid()[i];
                     return infogain_columns(s.classes, s.inner, n,
                                             p + o * s.classes * s.inner + first, w, least);
                   });
}

void infogain_backward_row(int64_t n, const float* p, const float* w, float sum, bool ignored,
                           float scale, float* dx) {
  for_each_vector(0, n, [=](int64_t i, int64_t lanes) {
    const Vec d = load_some(p + i, lanes) * sum - load_some(w + i, lanes);
    store_some(dx + i, ignored ? Vec{} : scale * d, lanes);
  });
}

// n <= kLanes positions
void infogain_backward_columns(int64_t classes, int64_t step, int64_t n, const float* p,
                               const ChosenRows& w, const float* sums, float scale, float* dx) {
  const Vec sum = w.of(sums);
  for (int64_t k = 0; k < classes; ++k) {
    const Vec d = scale * (load_some(p + k * step, n) * sum - w[k]);
    store_some(dx + k * step, select(w.valid(), d, Vec{}), n);
  }
}

void infogain_backward(const SoftmaxShape& s, const float* p, const float* label, bool has_ignore,
                       int ignore_label, const float* weights, const float* sums, float scale,
                       float* dx) {
  const Labels labels{label, has_ignore, ignore_label};
  if (s.inner == 1) {
    parallel_for(s.outer, items_worth(kGrain, s.classes), [=](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const bool ignored = labels.ignored(o);
        const int64_t k = ignored ? 0 : static_cast<int64_t>(label[o]), at = o * s.classes;
        infogain_backward_row(s.classes, p + at, weights + k * s.classes, sums[k], ignored, scale,
                              dx + at);
      }
    });
  } else {
    for_each_strip(s, kGrain, [=](int64_t o, int64_t first, int64_t n) {
      for (int64_t i = first; i < first + n; i += kLanes) {
        const int64_t lanes = smaller(kLanes, first + n - i), at = o * s.classes * s.inner + i;
        const ChosenRows w(weights, s.classes, labels, o * s.inner + i, lanes);
        infogain_backward_columns(s.classes, s.inner, lanes, p + at, w, sums, scale, dx + at);
      }
    });
  }
}

}  // namespace

const SoftmaxKernels softmax = {
    forward,   backward,           loss, loss_backward,     smoothed_loss, smoothed_loss_backward,
    soft_loss, soft_loss_backward, pick, weighted_backward, infogain,      infogain_backward};

}  // namespace pydl::kernels::PYDL_ISA
