// What ImageData and DenseImageData have in common: batches of images that a text file lists.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "layers/record_feed.h"
#include "layers/source_hook.h"

namespace pydl {

// Names: kType and kParam, of the layer and its message, kSource, the help of its field source, and
// kLabelImages: each image has another one of its pixels' labels.
template <class Names>
struct ImageListParams {
  std::string source, root_folder, mean_file;
  uint32_t batch_size = 1, rand_skip = 0, new_height = 0, new_width = 0, crop_size = 0;
  uint32_t prefetch = 4, workers = 0;
  bool shuffle = false, is_color = true, mirror = false;
  float scale = 1;

  static auto fields() {
    using P = ImageListParams;
    return Fields(
        Names::kParam, Field("source", &P::source, Names::kSource),
        Field("batch_size", &P::batch_size, "images per batch"),
        Field("rand_skip", &P::rand_skip, "start after up to this many images, at random"),
        Field("shuffle", &P::shuffle, "a new random order in each pass over the list"),
        Field("new_height", &P::new_height, "rows to resize images to; with new_width"),
        Field("new_width", &P::new_width, "columns to resize images to; with new_height"),
        Field("is_color", &P::is_color, "3 channels, blue first; else 1"),
        Field("root_folder", &P::root_folder, "put before each name in the list, as it is"),
        Field("scale", &P::scale, "old place of transform_param.scale"),
        Field("mean_file", &P::mean_file, "old place of transform_param.mean_file"),
        Field("crop_size", &P::crop_size, "old place of transform_param.crop_size"),
        Field("mirror", &P::mirror, "old place of transform_param.mirror"),
        Field("prefetch", &P::prefetch, "batches to read ahead, while the net computes"),
        Field("workers", &P::workers, "processes that read and decode; 0: this one does"));
  }
};

template <class Names>
class ImageListLayer : public LayerOf<ImageListParams<Names>, TransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {2, 2}; }
  std::vector<int64_t*> state() override { return {&feed_->cursor}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const ImageListParams<Names>& p = this->params_of();
    check(p.batch_size > 0, Names::kParam, ".batch_size must be positive");
    check(!p.source.empty(), Names::kParam, ".source must be given");
    check((p.new_height > 0) == (p.new_width > 0), "new_height ", p.new_height, " and new_width ",
          p.new_width, ": give both, or neither");
    const auto& open = checked_hook(data_hooks().open, p.source);
    SourceRequest request;
    request.layer = Names::kType;
    request.source = p.source;
    request.color = p.is_color ? "color" : "gray";
    request.root_folder = p.root_folder;
    request.new_height = p.new_height;
    request.new_width = p.new_width;
    request.workers = p.workers;
    std::shared_ptr<DataSource> images = open(request);
    check(p.rand_skip <= images->size(), "rand_skip ", p.rand_skip, " is more than the ",
          images->size(), " images of \"", p.source, "\"");
    const TransformParams transform =
        with_old_fields(this->template params_of<TransformParams>(), p);
    feed_ = std::make_unique<RecordFeed>(
        std::move(images),
        RecordFeed::Options{p.batch_size, p.shuffle, p.rand_skip, p.prefetch, transform,
                            Names::kLabelImages},
        *this);
  }

  bool wants_reshape(const Blobs& top) override { return feed_->WantsReshape(*top[0]); }
  void Reshape(const Blobs&, const Blobs& top) override { feed_->Reshape(top); }
  void Forward(const Blobs&, const Blobs& top) override { feed_->Forward(top); }

 private:
  std::unique_ptr<RecordFeed> feed_;
};

}  // namespace pydl
