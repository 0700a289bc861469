// The definition of local response normalisation (lrn.h): plain loops, double accumulation.
#include "kernels/lrn.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const LrnKernels lrn;

namespace {

// sum(i): of value(j) over the positions j in the window around i.
template <class Value>
std::vector<double> across_sums(const LrnShape& s, const Value& value) {
  std::vector<double> sums(static_cast<size_t>(s.outer * s.channels * s.inner));
  const int64_t half = s.size / 2;
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t c = 0; c < s.channels; ++c) {
      const int64_t begin = std::max<int64_t>(c - half, 0),
                    end = std::min(c + half + 1, s.channels);
      for (int64_t i = 0; i < s.inner; ++i) {
        double& sum = sums[static_cast<size_t>((o * s.channels + c) * s.inner + i)];
        for (int64_t j = begin; j < end; ++j) sum += value((o * s.channels + j) * s.inner + i);
      }
    }
  }
  return sums;
}

template <class Value>
std::vector<double> within_sums(const LrnShape& s, const Value& value) {
  std::vector<double> sums(static_cast<size_t>(s.outer * s.channels * s.h * s.w));
  const int64_t half = s.size / 2;
  const auto at = [&](int64_t o, int64_t c, int64_t h, int64_t w) {
    return s.channels_last ? ((o * s.h + h) * s.w + w) * s.channels + c
                           : ((o * s.channels + c) * s.h + h) * s.w + w;
  };
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t c = 0; c < s.channels; ++c) {
      for (int64_t h = 0; h < s.h; ++h) {
        for (int64_t w = 0; w < s.w; ++w) {
          double& sum = sums[static_cast<size_t>(at(o, c, h, w))];
          for (int64_t i = std::max<int64_t>(h - half, 0); i < std::min(h + half + 1, s.h); ++i) {
            for (int64_t j = std::max<int64_t>(w - half, 0); j < std::min(w + half + 1, s.w); ++j) {
              sum += value(at(o, c, i, j));
            }
          }
        }
      }
    }
  }
  return sums;
}

template <class T>
auto squares(const T* x) {
  return [x](int64_t i) { return static_cast<double>(x[i]) * x[i]; };
}

// y = x scale^-beta; scale = k + a sums
template <class T>
void forward(const LrnShape& s, const std::vector<double>& sums, double k, double a, const T* x,
             T* y) {
  for (size_t i = 0; i < sums.size(); ++i) {
    y[i] = static_cast<float>(x[i] * std::pow(k + a * sums[i], -s.beta));
  }
}

// dx = dy scale^-beta - 2 a beta x * (sum over the window of dy x scale^(-beta - 1))
template <class T, class WindowSums>
void backward(const LrnShape& s, const WindowSums& window_sums, double k, double a, const T* x,
              const T* dy, T* dx) {
  std::vector<double> scale = window_sums(s, squares(x));
  for (double& value : scale) value = k + a * value;
  const std::vector<double> sums = window_sums(s, [&](int64_t i) {
    return static_cast<double>(dy[i]) * x[i] * std::pow(scale[static_cast<size_t>(i)], -s.beta - 1);
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    const double direct = dy[i] * std::pow(scale[i], -s.beta);
    dx[i] = static_cast<float>(direct - 2 * a * s.beta * x[i] * sums[i]);
  }
}

double across_alpha(const LrnShape& s) { return s.alpha / static_cast<double>(s.size); }
double within_alpha(const LrnShape& s) { return s.alpha / static_cast<double>(s.size * s.size); }

template <class T>
void across_forward(const LrnShape& s, const T* x, T* y) {
  forward(s, across_sums(s, squares(x)), s.k, across_alpha(s), x, y);
}

template <class T>
void across_backward(const LrnShape& s, const T* x, const T* dy, T* dx) {
  const auto sums = [](const LrnShape& shape, const auto& value) {
    return across_sums(shape, value);
  };
  backward(s, sums, s.k, across_alpha(s), x, dy, dx);
}

template <class T>
void within_forward(const LrnShape& s, const T* x, T* y) {
  forward(s, within_sums(s, squares(x)), 1, within_alpha(s), x, y);
}

template <class T>
void within_backward(const LrnShape& s, const T* x, const T* dy, T* dx) {
  const auto sums = [](const LrnShape& shape, const auto& value) {
    return within_sums(shape, value);
  };
  backward(s, sums, 1, within_alpha(s), x, dy, dx);
}

}  // namespace

const LrnKernels lrn = {PYDL_TYPED(across_forward), PYDL_TYPED(across_backward),
                        PYDL_TYPED(within_forward), PYDL_TYPED(within_backward)};

}  // namespace pydl::kernels::ref
