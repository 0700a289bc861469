// Resample: an image in another size (FlowNet).

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "pydl/layer.h"

namespace pydl {

enum class ResampleType { kNearest = 1, kLinear = 2, kCubic = 3, kArea = 4 };
constexpr std::array<EnumName, 4> enum_names(ResampleType) {
  return {{{"NEAREST", 1}, {"LINEAR", 2}, {"CUBIC", 3}, {"AREA", 4}}};
}

struct ResampleParams {
  uint32_t width = 0, height = 0;
  ResampleType type = ResampleType::kLinear;
  bool antialias = true;
  float factor = 1;

  static auto fields() {
    using P = ResampleParams;
    return Fields("resample_param", Field("width", &P::width, "of the top, without a 2nd bottom"),
                  Field("height", &P::height, "of the top, without a 2nd bottom"),
                  Field("type", &P::type, "NEAREST, LINEAR or CUBIC"),
                  Field("antialias", &P::antialias, "wider filters where the top is smaller"),
                  Field("factor", &P::factor, "of both sizes, where neither is given"));
  }
};

// Pixels of the bottom along an axis, weighted, that make one of the top's.
struct ResampleTap {
  int64_t first;
  std::vector<float> weights;
};

// bottoms: (N, C, H, W), and perhaps a blob whose height and width the top gets
// top: (N, C, H', W')
class Resample final : public LayerOf<ResampleParams> {
 public:
  Arity bottoms() const override { return {1, 2}; }
  bool can_propagate(int bottom) const override { return bottom == 0; }
  bool backward_reads_bottom(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().type != ResampleType::kArea,
          "type AREA is not computed, as in FlowNet; use LINEAR, CUBIC or NEAREST");
    check(params_of().factor > 0 && params_of().factor < 1e6f,
          "factor must be positive and less than a million, got ", params_of().factor);
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Shape& x = bottom[0]->shape();
    check(x.size() == 4 && (bottom.size() < 2 || bottom[1]->axes() == 4),
          "needs blobs of N x C x H x W, got ", shape_text(x));
    const auto& p = params_of();
    const bool like = bottom.size() > 1, given = p.height > 0 && p.width > 0;
    check(like || given || p.factor != 1,
          "resample_param needs height and width, or a second bottom of that size");
    const auto scaled = [&](int64_t size) {
      return static_cast<int64_t>(std::llround(static_cast<double>(size) * p.factor));
    };
    const int64_t h = like ? bottom[1]->shape(2) : given ? p.height : scaled(x[2]);
    const int64_t w = like ? bottom[1]->shape(3) : given ? p.width : scaled(x[3]);
    check(h > 0 && w > 0 && x[2] > 0 && x[3] > 0, "cannot make ", h, "x", w, " of ", shape_text(x));
    top[0]->Reshape({x[0], x[1], h, w});
    rows_ = Taps(x[2], h, x[3], w), columns_ = Taps(x[3], w, x[2], h);
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const Blob &x = *bottom[0], &y = *top[0];
    const int64_t h = x.shape(2), w = x.shape(3), out_w = y.shape(3), out = y.count(2);
    const float* from = x.data();
    float* to = top[0]->mutable_data();
    ForEachPlane(x, h * out_w, [&](int64_t plane, float* rows) {
      for (int64_t i = 0; i < h; ++i) {
        const float* row = from + (plane * h + i) * w;
        for (int64_t j = 0; j < out_w; ++j) {
          const ResampleTap& t = columns_[j];
          float sum = 0;
          for (size_t k = 0; k < t.weights.size(); ++k) sum += t.weights[k] * row[t.first + k];
          rows[i * out_w + j] = sum;
        }
      }
      float* image = to + plane * out;
      std::fill_n(image, out, 0.0f);
      for (size_t i = 0; i < rows_.size(); ++i) {
        for (size_t k = 0; k < rows_[i].weights.size(); ++k) {
          const float weight = rows_[i].weights[k];
          const float* row = rows + (rows_[i].first + k) * out_w;
          for (int64_t j = 0; j < out_w; ++j) image[i * out_w + j] += weight * row[j];
        }
      }
    });
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    const Blob &x = *bottom[0], &y = *top[0];
    const int64_t h = x.shape(2), w = x.shape(3), out_w = y.shape(3), out = y.count(2);
    const float* dy = y.diff();
    float* dx = bottom[0]->mutable_diff();
    ForEachPlane(x, h * out_w, [&](int64_t plane, float* rows) {
      std::fill_n(rows, h * out_w, 0.0f);
      for (size_t i = 0; i < rows_.size(); ++i) {
        for (size_t k = 0; k < rows_[i].weights.size(); ++k) {
          const float weight = rows_[i].weights[k];
          float* row = rows + (rows_[i].first + k) * out_w;
          for (int64_t j = 0; j < out_w; ++j) row[j] += weight * dy[plane * out + i * out_w + j];
        }
      }
      std::fill_n(dx + plane * h * w, h * w, 0.0f);
      for (int64_t i = 0; i < h; ++i) {
        float* row = dx + (plane * h + i) * w;
        for (int64_t j = 0; j < out_w; ++j) {
          const ResampleTap& t = columns_[j];
          const float g = rows[i * out_w + j];
          for (size_t k = 0; k < t.weights.size(); ++k) row[t.first + k] += t.weights[k] * g;
        }
      }
    });
  }

 private:
  // body(plane, scratch of so many floats)
  template <class Body>
  static void ForEachPlane(const Blob& x, int64_t floats, const Body& body) {
    const int64_t size = kernels::aligned_size(floats), threads = kernels::num_threads();
    const kernels::Scratch scratch(threads * size);
    kernels::parallel(static_cast<int>(threads), [&](int thread, int parts) {
      const kernels::Range r = kernels::part_of(x.count(0, 2), thread, parts);
      for (int64_t plane = r.begin; plane < r.end; ++plane) {
        body(plane, scratch.data() + thread * size);
      }
    });
  }

  float Weight(float x) const {
    x = std::fabs(x);
    if (params_of().type == ResampleType::kLinear) return std::fmax(1 - x, 0);
    if (x <= 1) return x * x * (1.5f * x - 2.5f) + 1;
    return x < 2 ? x * (x * (2.5f - 0.5f * x) - 4) + 2 : 0;
  }

  static void TrimZeros(ResampleTap* tap) {
    std::vector<float>& weights = tap->weights;
    while (weights.size() > 1 && weights.back() == 0) weights.pop_back();
    while (weights.size() > 1 && weights.front() == 0) {
      weights.erase(weights.begin());
      ++tap->first;
    }
  }

  // As in FlowNet, the place in the bottom is shifted by half the scale of the other axis.
  std::vector<ResampleTap> Taps(int64_t size, int64_t out, int64_t other, int64_t other_out) const {
    const float scale = static_cast<float>(size) / static_cast<float>(out);
    const float other_scale = static_cast<float>(other) / static_cast<float>(other_out);
    const bool wide = params_of().antialias && (scale > 1 || other_scale > 1);
    const float sharpness = 1 / (wide ? scale : 1);
    const float width = params_of().type == ResampleType::kCubic ? 4 : 2;
    const auto reach = scale < 1 ? 2 : static_cast<int64_t>(std::ceil(width / sharpness));
    std::vector<ResampleTap> taps(out);
    for (int64_t i = 0; i < out; ++i) {
      const float at = static_cast<float>(i) * scale + other_scale / 2 - 0.5f;
      const int64_t middle = std::lround(at);
      if (params_of().type == ResampleType::kNearest) {
        taps[i] = {std::clamp<int64_t>(middle, 0, size - 1), {1}};
        continue;
      }
      const int64_t first = std::clamp<int64_t>(middle - reach, 0, size - 1);
      const int64_t last = std::clamp<int64_t>(middle + reach, 0, size - 1);
      taps[i].first = first;
      float sum = 0;
      for (int64_t k = first; k <= last; ++k) {
        taps[i].weights.push_back(Weight(sharpness * (at - static_cast<float>(k))));
        sum += taps[i].weights.back();
      }
      for (float& weight : taps[i].weights) weight = sum == 0 ? 0 : weight / sum;
      TrimZeros(&taps[i]);
    }
    return taps;
  }

  std::vector<ResampleTap> rows_, columns_;
};

PYDL_REGISTER_LAYER("Resample", Resample,
                    "An image in another size, by linear or cubic interpolation or the nearest "
                    "pixel; FlowNet's.");

}  // namespace pydl
