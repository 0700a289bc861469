// DenseImageData: batches of images and images of their pixels' labels, which a list names
// (SegNet).

#include "core/check.h"
#include "layers/record_feed.h"
#include "layers/source_hook.h"

namespace pydl {

struct DenseImageDataParams {
  std::string source, root_folder, mean_file;
  uint32_t batch_size = 1, rand_skip = 0, new_height = 0, new_width = 0, crop_size = 0;
  uint32_t prefetch = 4, workers = 0;
  bool shuffle = false, is_color = true, mirror = false;
  float scale = 1;

  static auto fields() {
    using P = DenseImageDataParams;
    return Fields(
        "dense_image_data_param",
        Field("source", &P::source, "a text file with an image and its label image on each line"),
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

// tops: data (batch_size, 3 or 1, H, W), label (batch_size, 1, H, W)
//
// Mean and scale are for the images alone; both are cut out and mirrored alike (SegNet refuses to
// do that).
class DenseImageData final : public LayerOf<DenseImageDataParams, TransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {2, 2}; }
  std::vector<int64_t*> state() override { return {&feed_->cursor}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const DenseImageDataParams& p = params_of();
    check(p.batch_size > 0, "dense_image_data_param.batch_size must be positive");
    check(!p.source.empty(), "dense_image_data_param.source must be given");
    check((p.new_height > 0) == (p.new_width > 0), "new_height ", p.new_height, " and new_width ",
          p.new_width, ": give both, or neither");
    const auto& open = checked_hook(data_hooks().open, p.source);
    SourceRequest request;
    request.layer = "DenseImageData";
    request.source = p.source;
    request.color = p.is_color ? "color" : "gray";
    request.root_folder = p.root_folder;
    request.new_height = p.new_height;
    request.new_width = p.new_width;
    request.workers = p.workers;
    std::shared_ptr<DataSource> images = open(request);
    check(p.rand_skip <= images->size(), "rand_skip ", p.rand_skip, " is more than the ",
          images->size(), " images of \"", p.source, "\"");
    const TransformParams transform = with_old_fields(params_of<TransformParams>(), p);
    feed_ = std::make_unique<RecordFeed>(
        std::move(images),
        RecordFeed::Options{p.batch_size, p.shuffle, p.rand_skip, p.prefetch, transform, true},
        *this);
  }

  bool wants_reshape(const Blobs& top) override { return feed_->WantsReshape(*top[0]); }
  void Reshape(const Blobs&, const Blobs& top) override { feed_->Reshape(top); }
  void Forward(const Blobs&, const Blobs& top) override { feed_->Forward(top); }

 private:
  std::unique_ptr<RecordFeed> feed_;
};

PYDL_REGISTER_LAYER("DenseImageData", DenseImageData,
                    "Batches of images and images of their pixels' labels, which a list names.");

}  // namespace pydl
