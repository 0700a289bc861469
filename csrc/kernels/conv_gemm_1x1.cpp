// A convolution that looks at one position at a time is a product of matrices:
// y (positions, OC) = x (positions, IC) w^T. With a stride, x is a copy of the positions met.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/column_sums.h"
#include "kernels/conv_implementations.h"
#include "kernels/gemm.h"
#include "kernels/kept_weights.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"

namespace pydl::kernels {
namespace {

// The positions of an image that strides meet, as rows of a matrix.
class Sampling {
 public:
  explicit Sampling(const ConvShape& s)
      : images_(s.n), in_(s.in_count()), all_(s.out_count() == in_), position_{0} {
    const std::vector<int64_t> out = s.out();
    for (size_t a = 0; a < s.in.size() && !all_; ++a) {
      std::vector<int64_t> next;
      for (int64_t p : position_) {
        for (int64_t i = 0; i < out[a]; ++i) next.push_back(p * s.in[a] + i * s.stride[a]);
      }
      position_ = std::move(next);
    }
  }

  bool all() const { return all_; }  // the image is the matrix

  void gather(ConstArray image, int64_t channels, Array rows) const {
    const int64_t size = channels * bytes_of(image.dtype);
    for_rows(size, [&](int64_t row, int64_t pixel) {
      std::memcpy(rows.from(row * channels).data, image.from(pixel * channels).data, size);
    });
  }
  void scatter(ConstArray rows, int64_t channels, Array image) const {
    const int64_t size = channels * bytes_of(image.dtype);
    for_rows(size, [&](int64_t row, int64_t pixel) {
      std::memcpy(image.from(pixel * channels).data, rows.from(row * channels).data, size);
    });
  }

 private:
  // f(row, its pixel among those of all images), threaded; `bytes`: of one.
  template <class F>
  void for_rows(int64_t bytes, const F& f) const {
    const auto each = static_cast<int64_t>(position_.size());
    parallel_for(images_ * each, std::max<int64_t>(kGrainBytes / bytes, 1),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     f(i, i / each * in_ + position_[static_cast<size_t>(i % each)]);
                   }
                 });
  }

  static constexpr int64_t kGrainBytes = 64 * 1024;

  const int64_t images_, in_;
  const bool all_;
  std::vector<int64_t> position_;  // per output position of an image
};

class Gemm1x1 final : public Conv {
 public:
  explicit Gemm1x1(const ConvShape& s)
      : pixels_(s.n * s.in_count()),
        rows_(s.n * s.out_count()),
        ic_(s.ic),
        oc_(s.oc),
        sampling_(s) {}

  const char* name() const override { return conv_gemm_1x1.name; }

  void weights_changed() override {
    forward_.weights_changed();
    backward_.weights_changed();
  }

  void forward(ConstArray x, const float* w, const Epilogue& epilogue, Array y) override {
    GemmShape s{rows_, oc_, ic_};
    s.trans_b = true;
    with_rows(x, [&](ConstArray rows) {
      forward_.use(kernels_, s, w, x.dtype, [&](const PackedMatrix& packed) {
        kernels_.gemm_packed(s, rows, packed, epilogue, y);
      });
    });
  }

  void backward_data(ConstArray dy, const float* w, const Epilogue& epilogue, Array dx) override {
    const GemmShape s{rows_, ic_, oc_};
    backward_.use(kernels_, s, w, dy.dtype, [&](const PackedMatrix& packed) {
      if (sampling_.all()) return kernels_.gemm_packed(s, dy, packed, epilogue, dx);
      const int64_t size = aligned_size(rows_ * ic_);
      const Scratch scratch(epilogue.residual ? 2 * size : size);
      const Array rows(scratch.data(), dx.dtype);
      Epilogue of_rows = epilogue;
      if (epilogue.residual) {
        const Array residual(scratch.data() + size, epilogue.residual.dtype);
        sampling_.gather(epilogue.residual, ic_, residual);
        of_rows.residual = residual;
      }
      kernels_.gemm_packed(s, dy, packed, of_rows, rows);
      fill(epilogue, dx);
      sampling_.scatter(rows, ic_, dx);
    });
  }

  void backward_weights(ConstArray x, ConstArray dy, float* dw, float* dbias) override {
    GemmShape s{oc_, ic_, rows_};
    s.trans_a = true;
    s.beta = 1.0f;
    with_rows(x, [&](ConstArray rows) { kernels_.gemm(s, dy, rows, {}, dw); });
    if (dbias) column_sums_.add(rows_, oc_, dy, dbias);
  }

 private:
  // f(x as (rows_, ic_))
  template <class F>
  void with_rows(ConstArray x, const F& f) const {
    if (sampling_.all()) return f(x);
    const Scratch scratch(rows_ * ic_);
    const Array rows(scratch.data(), x.dtype);
    sampling_.gather(x, ic_, rows);
    f(rows);
  }

  // What the epilogue makes of zeros.
  void fill(const Epilogue& epilogue, Array dx) const {
    const bool adds = epilogue.residual.data == dx.data;
    if (adds && !epilogue.bias && !epilogue.relu) return;
    parallel_for(pixels_, std::max<int64_t>((1 << 18) / ic_, 1), [&](int64_t begin, int64_t end) {
      if (!epilogue.residual && !epilogue.bias) return clear(begin * ic_, end * ic_, dx);
      for (int64_t pixel = begin; pixel < end; ++pixel) fill_pixel(epilogue, pixel * ic_, dx);
    });
  }
  static void clear(int64_t begin, int64_t end, Array x) {
    std::memset(x.from(begin).data, 0, static_cast<size_t>((end - begin) * bytes_of(x.dtype)));
  }
  void fill_pixel(const Epilogue& epilogue, int64_t at, Array dx) const {
    with_type(dx.from(at), [&](auto* to) {
      with_type(epilogue.residual_at(at), [&](const auto* more) {
        for (int64_t c = 0; c < ic_; ++c) {
          const float value = (epilogue.bias ? epilogue.bias[c] : 0) + (more ? more[c] : 0.0f);
          to[c] = epilogue.relu ? epilogue.rectified(value) : value;
        }
      });
    });
  }

  const int64_t pixels_, rows_, ic_, oc_;  // pixels of x, rows of y
  const Sampling sampling_;
  // Of the instruction set that was in use when this was made: packed weights belong to one.
  const GemmKernels& kernels_ = gemm_kernels();
  const ColumnSums& column_sums_ = column_sums_kernels();
  KeptMatrix forward_, backward_;
};

bool accepts(const ConvShape& s) {
  const auto all = [](const std::vector<int64_t>& v, int64_t value) {
    return std::all_of(v.begin(), v.end(), [value](int64_t i) { return i == value; });
  };
  return s.group == 1 && all(s.kernel, 1) && all(s.pad, 0);
}

std::unique_ptr<Conv> make(const ConvShape& s) { return std::make_unique<Gemm1x1>(s); }

}  // namespace

const ConvImplementation conv_gemm_1x1 = {"gemm_1x1", accepts, make};

}  // namespace pydl::kernels
