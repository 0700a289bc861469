// SPP: spatial pyramid pooling (He et al. 2014, arXiv:1406.4729).

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/eltwise.h"
#include "layers/engine.h"
#include "layers/pooler.h"
#include "pydl/layer.h"

namespace pydl {

struct SppParams {
  uint32_t pyramid_height = 0;
  PoolMethod pool = PoolMethod::kMax;
  Engine engine = Engine::kDefault;

  static auto fields() {
    using P = SppParams;
    return Fields("spp_param",
                  Field("pyramid_height", &P::pyramid_height,
                        "levels: the first is of one window, each of the others of 4 times as many "
                        "as the one before it; required"),
                  Field("pool", &P::pool, "MAX, AVE, or STOCHASTIC"),
                  Field("engine", &P::engine, "accepted for Caffe's files; no effect"));
  }
};

// bottom: (N, C, H, W)   top: (N, C (1 + 4 + 16 ...)), of each level (C, windows), whatever H and W
// are; as Caffe has it, (N, C, 1, 1) for one level.
class Spp final : public LayerOf<SppParams> {
 public:
  Layouts layouts() const override { return stochastic() ? Layouts::kChannelsLast : Layouts::kAny; }
  bool adds_to_diff() const override { return true; }
  bool backward_reads_bottom(int) const override { return averages_by_value(); }
  std::vector<int64_t*> state() override {
    return stochastic() ? std::vector<int64_t*>{&draws_} : std::vector<int64_t*>{};
  }

  void SetUp(const Blobs&, const Blobs&) override {
    check(params_of().pyramid_height > 0, "spp_param.pyramid_height must be given and positive");
  }

  void Reshape(const Blobs& bottom, const Blobs& top) override {
    const Blob& x = *bottom[0];
    check(x.axes() == 4, "needs a bottom of 4 axes (N, C, H, W), got shape ",
          shape_text(x.shape()));
    const int64_t n = x.shape(0), c = x.shape(1), h = x.shape(2), w = x.shape(3);
    const int levels = static_cast<int>(std::min<uint32_t>(params_of().pyramid_height, 31));
    check(int64_t{1} << (levels - 1) <= std::min(h, w), "pyramid_height ",
          params_of().pyramid_height, " is too large for a bottom of ", h, "x", w,
          ": the last level has 2^(pyramid_height - 1) windows along each axis");
    levels_.resize(levels);
    row_size_ = 0;
    for (int i = 0; i < levels; ++i) {
      const int64_t windows = int64_t{1} << i;
      levels_[i].shape = {n, c, {}, axis(h, windows), axis(w, windows), false};
      levels_[i].begin = row_size_;
      row_size_ += c * windows * windows;
    }
    if (levels == 1) {
      top[0]->Reshape({n, c, 1, 1});
    } else {
      top[0]->Reshape({n, row_size_});
    }
  }

  void Forward(const Blobs& bottom, const Blobs& top) override {
    const ConstArray x = bottom[0]->data(layout());
    float* y = top[0]->mutable_data();
    for (Level& level : levels_) {
      level.shape.channels_last = layout() == Layout::kChannelsLast;
      level.y.resize(count(level));
      Pooler::Draw draw{context().seed, 0};
      if (sampled()) draw.stream = stream_of(name()) + static_cast<uint64_t>(++draws_);
      level.pooler.forward(params_of().pool, level.shape, x, level.y.data(),
                           sampled() ? &draw : nullptr, needs_backward());
      write_level(level, y);
    }
  }

  void Backward(const Blobs& top, const Propagates& down, const Blobs& bottom) override {
    if (down[0] == Propagate::kNo) return;
    ConstArray x;
    if (averages_by_value()) x = bottom[0]->data(layout());
    const float* dy = top[0]->diff();
    bool add = down[0] == Propagate::kAdd;
    const int64_t size = bottom[0]->count();
    float* dx = add ? bottom[0]->update_diff(layout()) : bottom[0]->mutable_diff(layout());
    std::vector<float> of_level(levels_.size() > 1 || add ? size : 0);
    for (const Level& level : levels_) {
      const std::vector<float> gradient = read_level(level, dy);
      level.pooler.backward(params_of().pool, level.shape, x, level.y.data(), gradient.data(),
                            add ? of_level.data() : dx);
      if (add) kernels::eltwise_kernels().add(size, dx, of_level.data(), dx);
      add = true;
    }
  }

 private:
  struct Level {
    kernels::PoolShape shape;
    int64_t begin;  // of its values in a row of the top
    Pooler pooler;
    std::vector<float> y;  // in the bottom's layout
  };

  bool stochastic() const { return params_of().pool == PoolMethod::kStochastic; }
  bool sampled() const { return stochastic() && phase() == Phase::kTrain; }
  bool averages_by_value() const { return stochastic() && phase() == Phase::kTest; }

  // As many windows as wanted, as large as it takes, with the padding shared out to both ends.
  kernels::PoolAxis axis(int64_t size, int64_t windows) const {
    const int64_t kernel = (size + windows - 1) / windows;
    const int64_t pad = (kernel * windows - size + 1) / 2;
    check(pad < kernel, "cannot cut ", size, " pixels into ", windows, " windows of ", kernel,
          ": the padding, ", pad, ", would be as large; take a smaller pyramid_height");
    check(pad == 0 || !stochastic(), "STOCHASTIC pooling takes no padding, but ", windows,
          " windows of ", kernel, " over ", size, " pixels need it");
    return {size, windows, kernel, kernel, pad};
  }

  static int64_t count(const Level& level) {
    return level.shape.n * level.shape.c * level.shape.out_count();
  }

  void write_level(const Level& level, float* y) const {
    const auto& eltwise = kernels::eltwise_kernels();
    const kernels::PoolShape& s = level.shape;
    std::vector<float> plain(s.channels_last ? count(level) : 0);
    if (s.channels_last) eltwise.to_plain(s.n, s.c, s.out_count(), level.y.data(), plain.data());
    const int64_t row = s.c * s.out_count();
    eltwise.copy_rows(s.n, row, s.channels_last ? plain.data() : level.y.data(), row,
                      y + level.begin, row_size_);
  }

  // The gradient of a level's values, in the bottom's layout.
  std::vector<float> read_level(const Level& level, const float* dy) const {
    const auto& eltwise = kernels::eltwise_kernels();
    const kernels::PoolShape& s = level.shape;
    const int64_t row = s.c * s.out_count();
    std::vector<float> plain(count(level));
    eltwise.copy_rows(s.n, row, dy + level.begin, row_size_, plain.data(), row);
    if (!s.channels_last) return plain;
    std::vector<float> last(count(level));
    eltwise.to_channels_last(s.n, s.c, s.out_count(), plain.data(), last.data());
    return last;
  }

  std::vector<Level> levels_;
  int64_t row_size_ = 0;
  int64_t draws_ = 0;  // poolings that sampled
};

PYDL_REGISTER_LAYER("SPP", Spp,
                    "Spatial pyramid pooling: 1, 4, 16 ... windows over the whole image, so that "
                    "the top's size does not depend on the image's.");

}  // namespace pydl
