// 3x3 and 5x5 convolutions of stride 1 by Winograd's minimal filtering (kernels/winograd.h).
//
// Values that are not finite give what direct summation gives: their tiles are computed again by
// the correlation kernels, and so are whole passes when a weight is not finite.
#include <algorithm>

#include "kernels/column_sums.h"
#include "kernels/conv_implementations.h"
#include "kernels/conv_passes.h"
#include "kernels/isa.h"
#include "kernels/kept_weights.h"
#include "kernels/scratch.h"
#include "kernels/winograd.h"

namespace pydl::kernels {
namespace {

class TransformedWeights {
 public:
  void weights_changed() { kept_.weights_changed(); }

  // run(weights), with null if they are not all finite.
  template <class Run>
  void use(const WinogradKernels& kernels, const Pass& pass, const float* w, const Run& run) {
    const auto make = [&](float* to) { finite_ = kernels.pack(pass.shape, pass.weights, w, to); };
    kept_.use(kernels.packed_size(pass.shape), DType::kFloat32, make,
              [&](const float* packed) { run(finite_ ? packed : nullptr); });
  }

 private:
  KeptWeights kept_;
  bool finite_ = false;
};

// The outputs of tiles [begin, end) of one row of tiles, and where their image is.
Correlation part_of_row(const Correlation& c, const WinogradTiles& tiles, int64_t begin,
                        int64_t end, int64_t* image) {
  *image = begin / (tiles.rows * tiles.columns);
  const int64_t row = begin / tiles.columns % tiles.rows, first = begin % tiles.columns;
  Correlation part = c;
  part.n = 1;
  const auto cut = [&](CorrelationAxis& a, int64_t tile, int64_t count) {
    a.dst_first = tile * tiles.size;
    a.count = std::min(count * tiles.size, a.dst - a.dst_first);
    a.src_first += a.dst_first;
  };
  cut(part.axis[1], row, 1);
  cut(part.axis[2], first, end - begin);
  return part;
}

class WinogradConv final : public Conv {
 public:
  WinogradConv(const char* name, const WinogradKernels& kernels, const ConvShape& s)
      : name_(name),
        kernels_(kernels),
        shape_(s),
        forward_(forward_pass(s)),
        backward_(backward_passes(s).front()) {}

  const char* name() const override { return name_; }

  void weights_changed() override {
    forward_weights_.weights_changed();
    backward_weights_.weights_changed();
    if (direct_) direct_->weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    forward_weights_.use(kernels_, forward_, w, [&](const float* packed) {
      if (!packed) return direct().forward(x, w, epilogue, y);
      run(forward_, x, w, packed, epilogue, y);
    });
  }

  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    backward_weights_.use(kernels_, backward_, w, [&](const float* packed) {
      if (!packed) return direct().backward_data(dy, w, epilogue, dx);
      run(backward_, dy, w, packed, epilogue, dx);
    });
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    if (!kernels_.backward_weights(forward_.shape, forward_.weights, x, dy, dw)) {
      return direct().backward_weights(x, dy, dw, dbias);
    }
    if (dbias) column_sums_.add(shape_.n * shape_.out_count(), shape_.oc, dy, dbias);
  }

 private:
  void run(const Pass& pass, ConstArray src, const float* w, const float* packed,
           const Epilogue& epilogue, Array dst) {
    skipped_.resize(static_cast<size_t>(winograd_tiles(pass.shape, kernels_.tile_size).count));
    if (kernels_.run(pass.shape, src, packed, epilogue, dst, skipped_.data())) {
      run_skipped(pass, src, w, epilogue, dst);
    }
  }

  void run_skipped(const Pass& pass, ConstArray src, const float* w, const Epilogue& epilogue,
                   Array dst) const {
    const CorrelationKernels& kernels = correlation_kernels();
    const Correlation& c = pass.shape;
    const Scratch packed(kernels.packed_size(c, src.dtype));
    kernels.pack(c, pass.weights, w, src.dtype, packed.data());
    const WinogradTiles tiles = winograd_tiles(c, kernels_.tile_size);
    const int64_t src_size = c.axis[1].src * c.axis[2].src * c.group * c.ic;
    const int64_t dst_size = c.axis[1].dst * c.axis[2].dst * c.group * c.oc;
    const auto skipped = [&](int64_t tile) { return skipped_[static_cast<size_t>(tile)] != 0; };
    for (int64_t begin = 0; begin < tiles.count; ++begin) {
      if (!skipped(begin)) continue;
      const int64_t row_end = (begin / tiles.columns + 1) * tiles.columns;
      int64_t end = begin + 1, image = 0;
      while (end < row_end && skipped(end)) ++end;
      const Correlation part = part_of_row(c, tiles, begin, end, &image);
      Epilogue of_image = epilogue;
      of_image.residual = epilogue.residual_at(image * dst_size);
      const CorrelationPart one{&part, packed.data()};
      kernels.run(&one, 1, src.from(image * src_size), of_image, dst.from(image * dst_size));
      begin = end - 1;
    }
  }

  Conv& direct() {
    if (!direct_) direct_ = conv_implicit_gemm.make(shape_);
    return *direct_;
  }

  const char* const name_;
  const WinogradKernels& kernels_;  // of the instruction set in use when this was made
  const ColumnSums& column_sums_ = column_sums_kernels();
  const ConvShape shape_;
  const Pass forward_, backward_;
  TransformedWeights forward_weights_, backward_weights_;
  std::vector<uint8_t> skipped_;
  std::unique_ptr<Conv> direct_;
};

bool is_square(const ConvShape& s, int64_t kernel) {
  const auto all = [](const std::vector<int64_t>& v, int64_t value) {
    return std::all_of(v.begin(), v.end(), [value](int64_t i) { return i == value; });
  };
  return s.in.size() == 2 && all(s.kernel, kernel) && all(s.stride, 1) && all(s.dilation, 1);
}

bool accepts_4x4(const ConvShape& s) {
  return s.arithmetic == Arithmetic::kFast && is_square(s, 3);
}
bool accepts_2x2(const ConvShape& s) {
  return s.arithmetic != Arithmetic::kDirect && is_square(s, 3);
}
bool accepts_2x2_5x5(const ConvShape& s) {
  return s.arithmetic == Arithmetic::kFast && is_square(s, 5);
}

// How long a multiplication takes in the direct kernel, in those of float32.
double direct_cost(DType dtype, ConvPass pass) {
  if (dtype == DType::kFloat32 || isa() < Isa::kAvx512Bf16) return 1;
  if (isa() == Isa::kAmx) return 0.15;
  return pass == ConvPass::kBackwardWeights ? 0.7 : 0.475;
}

// Counted in multiplications per pair of channels: one for each point of a tile against one for
// each tap of an output. Tiles are the rows of a product: fewer than a register tile has are no
// faster. A value that is transformed costs as much as 16 to 32 multiplications (F(2x2, 5x5): 8 to
// 16), on the way in with `ic` channels, on the way out with `oc`; those of the weights are used
// for all tiles, and made once where the weights stay.
bool pays(const ConvShape& s, ConvPass pass, const WinogradKernels& f) {
  constexpr double kLearned = 26, kKept = 4;
  constexpr int64_t kLeastTiles = 14;
  const double in = f.taps == 3 ? 32 : 16;
  const Pass p = pass == ConvPass::kBackwardData ? backward_passes(s).front() : forward_pass(s);
  const auto& c = p.shape;
  const auto tiles =
      static_cast<double>(std::max(kLeastTiles, winograd_tiles(c, f.tile_size).count));
  const int64_t side = f.tile_size + f.taps - 1;
  const double points = static_cast<double>(side * side);
  const double outputs = static_cast<double>(s.n * c.axis[1].dst * c.axis[2].dst);
  const double ic = static_cast<double>(c.ic), oc = static_cast<double>(c.oc);
  const double out = pass == ConvPass::kBackwardWeights ? in : in / 2;
  const double weights = pass != ConvPass::kBackwardWeights && !s.learns ? kKept : kLearned;
  return points * (tiles * (1 + in / oc + out / ic) + weights) <
         static_cast<double>(f.taps * f.taps) * outputs * direct_cost(s.dtype, pass);
}

bool pays_4x4(const ConvShape& s, ConvPass pass) { return pays(s, pass, winograd_4x4_kernels()); }
bool pays_2x2(const ConvShape& s, ConvPass pass) { return pays(s, pass, winograd_2x2_kernels()); }
// Where the CPU has products of bfloat16, no 5x5 layer measured was faster than its direct ones.
bool pays_2x2_5x5(const ConvShape& s, ConvPass pass) {
  return direct_cost(s.dtype, pass) == 1 && pays(s, pass, winograd_2x2_5x5_kernels());
}

std::unique_ptr<Conv> make_4x4(const ConvShape& s) {
  return std::make_unique<WinogradConv>(conv_winograd_4x4.name, winograd_4x4_kernels(), s);
}
std::unique_ptr<Conv> make_2x2(const ConvShape& s) {
  return std::make_unique<WinogradConv>(conv_winograd_2x2.name, winograd_2x2_kernels(), s);
}
std::unique_ptr<Conv> make_2x2_5x5(const ConvShape& s) {
  return std::make_unique<WinogradConv>(conv_winograd_2x2_5x5.name, winograd_2x2_5x5_kernels(), s);
}

}  // namespace

const ConvImplementation conv_winograd_4x4 = {"winograd_4x4", accepts_4x4, make_4x4, pays_4x4};
const ConvImplementation conv_winograd_2x2 = {"winograd_2x2", accepts_2x2, make_2x2, pays_2x2};
const ConvImplementation conv_winograd_2x2_5x5 = {"winograd_2x2_5x5", accepts_2x2_5x5, make_2x2_5x5,
                                                  pays_2x2_5x5};

}  // namespace pydl::kernels
