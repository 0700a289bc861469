// N-dimensional convolution, forward and both gradients.
//
//   x: (N, in..., IC)   y: (N, out..., OC)   channels-last
//   w: (OC, IC / group, kernel...)   bias: (OC)   plain, as Caffe stores them
//   out = (in + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1, rounded down
//   y[n, o, c] = bias[c] + sum over k, i of x[n, o stride - pad + k dilation, i] w[c, i, k]
//
// Padding is zeros: an output whose window reaches into it may be NaN where a weight is not finite.
//
// x, y and their gradients are float32 or bfloat16, each by itself; weights, biases and sums are
// float32. Where x (backward_data: dy) is bfloat16, products are of bfloat16: the weights, and in
// backward_weights dy, are rounded to it. The Winograd kernels do without this rounding.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/epilogue.h"
#include "pydl/array.h"

namespace pydl::kernels {

// Which algorithms may be used: all; those no less accurate than summing products one by one; or
// only that.
enum class Arithmetic { kFast, kStrict, kDirect };

struct ConvShape {
  int64_t n = 1, ic = 1, oc = 1, group = 1;
  // One entry per spatial axis (0 or more axes), outermost first.
  std::vector<int64_t> in, kernel, stride, pad, dilation;
  Arithmetic arithmetic = Arithmetic::kFast;
  // By which implementations are chosen; they take arrays of any type and any change of weights.
  DType dtype = DType::kFloat32;  // of x and dy
  bool learns = false;            // the weights change from one forward pass to the next

  std::vector<int64_t> out() const;
  int64_t in_count() const;      // product of `in`
  int64_t out_count() const;     // product of out()
  int64_t kernel_count() const;  // product of `kernel`
  double flops() const;          // of one pass: 2 n oc out ic/group kernel
  std::string text() const;      // "mb8g1ic64ih56iw56oc64kh3kw3sh1sw1ph1pw1dh1dw1"
  bool operator==(const ConvShape&) const = default;
};

// One convolution problem, made once at reshape; holds scratch and packed weights.
// Not to be used by two threads at once.
class Conv {
 public:
  virtual ~Conv() = default;
  // Of the implementation: "gemm_1x1", "depthwise", "winograd_4x4", "winograd_2x2",
  // "winograd_2x2_5x5", "col2im", "implicit_gemm", "ref"; of the forward pass's, where the passes
  // have different ones.
  virtual const char* name() const = 0;
  // The weights changed since the last pass: packed copies are made again at the next use.
  virtual void weights_changed() {}
  // y is overwritten.
  virtual void forward(ConstArray x, const float* w, const Epilogue&, Array y) = 0;
  // dx = the gradient with respect to x, then the epilogue, with channels of x; dx as its residual
  // adds to what is there.
  virtual void backward_data(ConstArray dy, const float* w, const Epilogue&, Array dx) = 0;
  // dw += and, unless null, dbias +=.
  virtual void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) = 0;
};

enum class ConvPass { kForward, kBackwardData, kBackwardWeights };
constexpr int kConvPasses = 3;

// One way to do it. "ref" accepts all.
struct ConvImplementation {
  const char* name;
  bool (*accepts)(const ConvShape&);
  std::unique_ptr<Conv> (*make)(const ConvShape&);
  bool (*pays)(const ConvShape&, ConvPass) = [](const ConvShape&, ConvPass) { return true; };
  bool (*has)(ConvPass) = [](ConvPass) { return true; };  // or takes it from another one
};
using ConvList = std::vector<const ConvImplementation*>;

const ConvList& conv_list();  // for the instruction set in use (isa.h), best first

// Each pass gets the first in the list that accepts the problem and pays there; with `autotune`,
// the fastest of those that accept it and have the pass (conv_autotune.h).
std::unique_ptr<Conv> make_conv(const ConvShape&, bool autotune = false);
// By name, for tests and benchmarks; throws pydl::Error if unknown or not accepting.
std::unique_ptr<Conv> make_conv(const ConvShape&, const std::string& name);

// The transposed convolution: x and y change places. Of the shape's convolution its forward pass is
// backward_data, and its backward_data the forward pass. w stays (OC, IC / group, kernel...), with
// the input's channels first; bias: (IC).
std::unique_ptr<Conv> make_transposed_conv(const ConvShape&, bool autotune = false);

}  // namespace pydl::kernels
