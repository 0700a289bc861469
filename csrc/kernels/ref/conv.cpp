// The definition of conv.h: plain loops, double accumulation, any number of axes.
#include "kernels/conv.h"

#include "kernels/conv_implementations.h"
#include "kernels/ref/array.h"

namespace pydl::kernels {
namespace {

using ref::get;
using ref::set;

// source[o * kernel_count + k]: the input position that output position o meets through kernel
// position k, -1 in the padding.
std::vector<int64_t> source_table(const ConvShape& s) {
  const std::vector<int64_t> out = s.out();
  const int64_t outs = s.out_count(), kernels = s.kernel_count();
  std::vector<int64_t> table(static_cast<size_t>(outs * kernels));
  for (int64_t o = 0; o < outs; ++o) {
    for (int64_t k = 0; k < kernels; ++k) {
      int64_t position = 0, step = 1, o_left = o, k_left = k;
      for (size_t a = s.in.size(); a-- > 0;) {
        const int64_t x =
            o_left % out[a] * s.stride[a] - s.pad[a] + k_left % s.kernel[a] * s.dilation[a];
        o_left /= out[a];
        k_left /= s.kernel[a];
        if (x < 0 || x >= s.in[a]) {
          position = -1;
          break;
        }
        position += x * step;
        step *= s.in[a];
      }
      table[static_cast<size_t>(o * kernels + k)] = position;
    }
  }
  return table;
}

class RefConv final : public Conv {
 public:
  explicit RefConv(const ConvShape& s)
      : s_(s),
        source_(source_table(s)),
        icg_(s.ic / s.group),
        ocg_(s.oc / s.group),
        ins_(s.in_count()),
        outs_(s.out_count()),
        kernels_(s.kernel_count()) {}

  const char* name() const override { return conv_ref.name; }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    for (int64_t no = 0; no < s_.n * outs_; ++no) {
      for (int64_t c = 0; c < s_.oc; ++c) {
        double sum = 0;
        each_term(no, c, [&](int64_t ix, int64_t iw) { sum += double{get(x, ix)} * w[iw]; });
        finish(sum, epilogue, c, no * s_.oc + c, y);
      }
    }
  }

  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    std::vector<double> sum(static_cast<size_t>(s_.n * ins_ * s_.ic));
    for (int64_t no = 0; no < s_.n * outs_; ++no) {
      for (int64_t c = 0; c < s_.oc; ++c) {
        const double g = get(dy, no * s_.oc + c);
        each_term(no, c,
                  [&](int64_t ix, int64_t iw) { sum[static_cast<size_t>(ix)] += g * w[iw]; });
      }
    }
    for (int64_t i = 0; i < static_cast<int64_t>(sum.size()); ++i) {
      finish(sum[static_cast<size_t>(i)], epilogue, i % s_.ic, i, dx);
    }
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    std::vector<double> sum(static_cast<size_t>(s_.oc * icg_ * kernels_));
    std::vector<double> bias_sum(static_cast<size_t>(s_.oc));
    for (int64_t no = 0; no < s_.n * outs_; ++no) {
      for (int64_t c = 0; c < s_.oc; ++c) {
        const double g = get(dy, no * s_.oc + c);
        bias_sum[static_cast<size_t>(c)] += g;
        each_term(no, c,
                  [&](int64_t ix, int64_t iw) { sum[static_cast<size_t>(iw)] += g * get(x, ix); });
      }
    }
    for (size_t i = 0; i < sum.size(); ++i) dw[i] = static_cast<float>(dw[i] + sum[i]);
    for (size_t c = 0; dbias && c < bias_sum.size(); ++c) {
      dbias[c] = static_cast<float>(dbias[c] + bias_sum[c]);
    }
  }

 private:
  // Of channel c, to element `at`.
  static void finish(double sum, const Epilogue& epilogue, int64_t c, int64_t at, Array to) {
    if (epilogue.bias) sum += epilogue.bias[c];
    if (epilogue.residual) sum += get(epilogue.residual, at);
    if (epilogue.relu) sum = epilogue.rectified(sum);
    set(to, at, sum);
  }

  // f(index in x, index in w) for every term of output channel c at position no = n * outs + o.
  template <class F>
  void each_term(int64_t no, int64_t c, const F& f) const {
    const int64_t n = no / outs_, o = no % outs_, first = c / ocg_ * icg_;
    for (int64_t k = 0; k < kernels_; ++k) {
      const int64_t position = source_[static_cast<size_t>(o * kernels_ + k)];
      if (position < 0) continue;
      for (int64_t i = 0; i < icg_; ++i) {
        f((n * ins_ + position) * s_.ic + first + i, (c * icg_ + i) * kernels_ + k);
      }
    }
  }

  const ConvShape s_;
  const std::vector<int64_t> source_;
  const int64_t icg_, ocg_, ins_, outs_, kernels_;
};

bool accepts(const ConvShape&) { return true; }
std::unique_ptr<Conv> make(const ConvShape& s) { return std::make_unique<RefConv>(s); }

}  // namespace

const ConvImplementation conv_ref = {"ref", accepts, make};

}  // namespace pydl::kernels
