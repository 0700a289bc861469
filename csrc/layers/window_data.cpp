// WindowData: windows of images, drawn at random, warped to squares; for R-CNN (Girshick et al.
// 2014, arXiv:1311.2524).
//
// A batch has background windows (label 0) first and then fg_fraction of it foreground ones. The
// surroundings that lie outside of an image are 0 after the mean is subtracted. Caffe knows scale
// only in window_data_param; here transform_param.scale does as well. A window file's images are
// counted in the order of the file, whatever their numbers behind "#" are.

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "core/read_ahead.h"
#include "core/resize.h"
#include "kernels/parallel.h"
#include "layers/record_feed.h"
#include "layers/source_hook.h"
#include "layers/window_geometry.h"

namespace pydl {

struct WindowDataParams {
  std::string source, mean_file, crop_mode = "warp", root_folder;
  float scale = 1, fg_threshold = 0.5f, bg_threshold = 0.5f, fg_fraction = 0.25f;
  uint32_t batch_size = 0, crop_size = 0, context_pad = 0, prefetch = 4, workers = 0;
  bool mirror = false, cache_images = false;

  static auto fields() {
    using P = WindowDataParams;
    return Fields(
        "window_data_param", Field("source", &P::source, "a window file; required"),
        Field("scale", &P::scale, "factor on every value, after the mean"),
        Field("mean_file", &P::mean_file, "old place of transform_param.mean_file"),
        Field("batch_size", &P::batch_size, "windows per batch; required"),
        Field("crop_size", &P::crop_size, "old place of transform_param.crop_size"),
        Field("mirror", &P::mirror, "old place of transform_param.mirror"),
        Field("fg_threshold", &P::fg_threshold, "least overlap of a foreground window"),
        Field("bg_threshold", &P::bg_threshold, "a background window overlaps less"),
        Field("fg_fraction", &P::fg_fraction, "part of a batch that is foreground"),
        Field("context_pad", &P::context_pad, "pixels of surroundings on each side, once warped"),
        Field("crop_mode", &P::crop_mode, "warp: to the square as it is; square: grown to one"),
        Field("cache_images", &P::cache_images, "keep image files in memory"),
        Field("root_folder", &P::root_folder, "put before each name in the file, as it is"),
        Field("prefetch", &P::prefetch, "batches to read ahead, while the net computes"),
        Field("workers", &P::workers, "processes that read and decode; 0: this one does"));
  }
};

// tops: data (batch_size, 3, crop_size, crop_size), label (batch_size)
class WindowData final : public LayerOf<WindowDataParams, TransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {2, 2}; }
  std::vector<int64_t*> state() override { return {&cursor_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const WindowDataParams& p = params_of();
    transform_ = with_old_fields(params_of<TransformParams>(), p);
    CheckParams();
    SourceRequest request;
    request.layer = "WindowData";
    request.source = p.source;
    request.color = "color";
    request.root_folder = p.root_folder;
    request.cache = p.cache_images;
    request.workers = p.workers;
    WindowSet set = checked_hook(data_hooks().open_windows, request.source)(request);
    images_ = set.images;
    Sort(set.windows);
    means_ = channel_means(transform_, kChannels);
    mean_image_ = read_mean_image(transform_);
    const int64_t crop = transform_.crop_size;
    check(
        mean_image_.shape.empty() || (mean_image_.shape[0] == kChannels &&
                                      mean_image_.shape[1] >= crop && mean_image_.shape[2] >= crop),
        transform_.mean_file, ": the mean image is ", shape_text(mean_image_.shape),
        "; 3 channels of at least crop_size ", crop, " rows and columns are needed");
    Open(context().seed);
  }

  void Reshape(const Blobs&, const Blobs& top) override {
    const int64_t batch = params_of().batch_size, crop = transform_.crop_size;
    top[0]->Reshape({batch, kChannels, crop, crop});
    top[1]->Reshape({batch});
  }

  void Forward(const Blobs&, const Blobs& top) override {
    if (context().seed != seed_) Open(context().seed);
    const auto item = batches_->Get(cursor_);
    const auto& images = *static_cast<const Records*>(item.get());
    const auto batch = static_cast<int64_t>(images.size());
    std::vector<Draw> draws(batch);
    std::vector<WindowWarp> warps(batch);
    for (int64_t i = 0; i < batch; ++i) {
      draws[i] = DrawWindow(cursor_ + i);
      warps[i] = Warp(draws[i], images[i]);
    }
    const int64_t size = top[0]->count(1);
    float *data = top[0]->mutable_data(), *label = top[1]->mutable_data();
    kernels::parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        WriteWindow(images[i], warps[i], draws[i].mirror, data + i * size);
        label[i] = draws[i].window->label;
      }
    });
    cursor_ += batch;
  }

 private:
  static constexpr int64_t kChannels = 3;
  static constexpr int32_t kLeast = -(1 << 20), kMost = 1 << 20;  // coordinates

  struct Draw {
    const Window* window;
    bool mirror;
  };

  void CheckParams() const {
    const WindowDataParams& p = params_of();
    check(!params_of<TransformParams>().augment,
          "transform_param.augment is not for WindowData, which draws windows of its own; "
          "remove it, or give ImageData the pictures");
    check(p.batch_size > 0, "window_data_param.batch_size must be given and positive");
    check(!p.source.empty(), "window_data_param.source must be given");
    check(transform_.crop_size > 0, "transform_param.crop_size must be given and positive");
    check(p.fg_fraction >= 0 && p.fg_fraction <= 1, "fg_fraction must be in 0 to 1, got ",
          p.fg_fraction);
    check(2 * int64_t{p.context_pad} < int64_t{transform_.crop_size}, "context_pad ", p.context_pad,
          " on both sides leaves nothing of crop_size ", transform_.crop_size);
    check(p.crop_mode == "warp" || p.crop_mode == "square", "unknown crop_mode \"", p.crop_mode,
          "\"", did_you_mean(p.crop_mode, {"warp", "square"}));
  }

  int64_t foreground_count() const {
    const WindowDataParams& p = params_of();
    return static_cast<int64_t>(static_cast<float>(p.batch_size) * p.fg_fraction);
  }

  // Into foreground and background; those in between are left out.
  void Sort(const std::vector<Window>& windows) {
    const WindowDataParams& p = params_of();
    for (const Window& w : windows) {
      check(kLeast <= w.x1 && w.x1 <= w.x2 && w.x2 <= kMost && kLeast <= w.y1 && w.y1 <= w.y2 &&
                w.y2 <= kMost,
            p.source, ": a window from (", w.x1, ", ", w.y1, ") to (", w.x2, ", ", w.y2, ")");
      if (w.overlap >= p.fg_threshold) {
        check(w.label > 0, p.source, ": a window with an overlap of ", w.overlap,
              " is foreground, so that its label must be above 0; it is ", w.label);
        foreground_.push_back(w);
      } else if (w.overlap < p.bg_threshold) {
        background_.push_back(w);
        background_.back().label = 0;
      }
    }
    const int64_t foreground = foreground_count();
    check(foreground == 0 || !foreground_.empty(), p.source,
          ": no window overlaps by fg_threshold ", p.fg_threshold, " or more");
    check(foreground == p.batch_size || !background_.empty(), p.source,
          ": no window overlaps by less than bg_threshold ", p.bg_threshold);
  }

  // Number `i` of the run, a function of the seed.
  Draw DrawWindow(int64_t i) const {
    const int64_t batch = params_of().batch_size;
    const bool is_foreground = i % batch >= batch - foreground_count();
    const std::vector<Window>& windows = is_foreground ? foreground_ : background_;
    const PhiloxBlock random = philox(seed_, stream_of(name()), static_cast<uint64_t>(i));
    const uint64_t drawn = uint64_t{random[0]} << 32 | random[1];
    return {&windows[drawn % windows.size()], transform_.mirror && (random[2] & 1) != 0};
  }

  void Open(uint64_t seed) {
    batches_.reset();  // its thread reads seed_
    seed_ = seed;
    const int64_t batch = params_of().batch_size;
    const auto read = [this, batch](int64_t first) {
      std::vector<int64_t> numbers(batch);
      for (int64_t i = 0; i < batch; ++i) numbers[i] = DrawWindow(first + i).window->image;
      return std::make_shared<const Records>(images_->Read(numbers));
    };
    batches_ = std::make_unique<ReadAhead>(read, batch, params_of().prefetch);
  }

  WindowWarp Warp(const Draw& draw, const Record& image) const {
    const WindowDataParams& p = params_of();
    check(image.shape.size() == 3 && image.shape[0] == kChannels && image.bytes != nullptr,
          image.name, ": an image of 3 channels of bytes is needed");
    try {
      return warp_window(*draw.window, image.shape[2], image.shape[1],
                         static_cast<int32_t>(transform_.crop_size),
                         static_cast<int32_t>(p.context_pad), p.crop_mode == "square", draw.mirror);
    } catch (const Error& e) {
      fail(p.source, ": ", image.name, ": ", e.what());
    }
  }

  // y: (3, crop_size, crop_size)
  void WriteWindow(const Record& image, const WindowWarp& warp, bool mirror, float* y) const {
    const int64_t crop = transform_.crop_size, rows = image.shape[1], columns = image.shape[2];
    std::fill(y, y + kChannels * crop * crop, 0.0f);
    if (warp.width == 0 || warp.height == 0) return;
    std::vector<uint8_t> plane(static_cast<size_t>(warp.width) * warp.height);
    for (int64_t c = 0; c < kChannels; ++c) {
      resize_bilinear(warp.y2 - warp.y1 + 1, warp.x2 - warp.x1 + 1, columns,
                      image.bytes + (c * rows + warp.y1) * columns + warp.x1, warp.height,
                      warp.width, plane.data());
      for (int64_t h = 0; h < warp.height; ++h) {
        const int64_t row = warp.pad_top + h;
        const uint8_t* from = plane.data() + h * warp.width;
        const float* mean = MeanRow(c, row);
        float* to = y + (c * crop + row) * crop + warp.pad_left;
        for (int64_t w = 0; w < warp.width; ++w) {
          const float x = from[mirror ? warp.width - 1 - w : w];
          to[w] = (x - (mean ? mean[warp.pad_left + w] : means_[c])) * transform_.scale;
        }
      }
    }
  }

  // The mean image is cut in its middle.
  const float* MeanRow(int64_t channel, int64_t row) const {
    if (mean_image_.values.empty()) return nullptr;
    const int64_t rows = mean_image_.shape[1], columns = mean_image_.shape[2];
    const int64_t crop = transform_.crop_size;
    const int64_t top = (rows - crop) / 2, left = (columns - crop) / 2;
    return mean_image_.values.data() + (channel * rows + top + row) * columns + left;
  }

  TransformParams transform_;
  std::shared_ptr<DataSource> images_;
  std::vector<Window> foreground_, background_;
  std::vector<float> means_;
  MeanImage mean_image_;
  uint64_t seed_ = 0;
  int64_t cursor_ = 0;                  // windows given out so far
  std::unique_ptr<ReadAhead> batches_;  // last: its thread uses all of the above
};

PYDL_REGISTER_LAYER("WindowData", WindowData,
                    "Windows of images, drawn at random and warped to squares.");

}  // namespace pydl
