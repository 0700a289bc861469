// The definition of the interpolation (interp.h): one output at a time, in double.
#include "kernels/interp.h"

#include <vector>

#include "kernels/typed.h"

namespace pydl::kernels::ref {

extern const InterpKernels interp;

namespace {

// body(index in y, index in x, weight): for each output and its four inputs.
template <class Body>
void for_each_tap(const InterpShape& s, const Body& body) {
  for (int64_t o = 0; o < s.n * s.h.out * s.w.out * s.channels; ++o) {
    const int64_t c = o % s.channels, pixel = o / s.channels;
    const InterpAxis::Tap h = s.h.tap(pixel / s.w.out % s.h.out), w = s.w.tap(pixel % s.w.out);
    const int64_t image = pixel / s.w.out / s.h.out * s.h.size;
    const auto visit = [&](int64_t row, int64_t column, double weight) {
      const int64_t at = (image + s.h.begin + row) * s.w.size + s.w.begin + column;
      body(o, at * s.channels + c, weight);
    };
    const double down = h.weight, right = w.weight;
    visit(h.lower, w.lower, (1 - down) * (1 - right));
    visit(h.lower, w.upper, (1 - down) * right);
    visit(h.upper, w.lower, down * (1 - right));
    visit(h.upper, w.upper, down * right);
  }
}

template <class T>
void forward(const InterpShape& s, const T* x, T* y) {
  std::vector<double> sums(static_cast<size_t>(s.n * s.h.out * s.w.out * s.channels));
  for_each_tap(s, [&](int64_t to, int64_t from, double weight) {
    if (weight != 0) sums[static_cast<size_t>(to)] += weight * x[from];
  });
  for (size_t i = 0; i < sums.size(); ++i) y[i] = static_cast<float>(sums[i]);
}

template <class T>
void backward(const InterpShape& s, const T* dy, T* dx) {
  std::vector<double> sums(static_cast<size_t>(s.n * s.h.size * s.w.size * s.channels));
  for_each_tap(s, [&](int64_t from, int64_t to, double weight) {
    sums[static_cast<size_t>(to)] += weight * dy[from];
  });
  for (size_t i = 0; i < sums.size(); ++i) dx[i] = static_cast<float>(sums[i]);
}

}  // namespace

const InterpKernels interp = {PYDL_TYPED(forward), PYDL_TYPED(backward)};

}  // namespace pydl::kernels::ref
