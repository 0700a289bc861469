// Data: batches of records from a data set or database, in order or shuffled.
//
// As in Caffe the first record of a batch says which size the batch has: records of several sizes
// can be cut to one by crop_size, or come in batches of one.

#include "core/check.h"
#include "layers/record_feed.h"
#include "layers/source_hook.h"

namespace pydl {

enum class Backend { kLevelDb = 0, kLmdb = 1 };
constexpr std::array<EnumName, 2> enum_names(Backend) { return {{{"LEVELDB", 0}, {"LMDB", 1}}}; }

struct DataParams {
  std::string source;
  uint32_t batch_size = 0, rand_skip = 0, prefetch = 4, crop_size = 0, workers = 0;
  std::optional<Backend> backend;
  float scale = 1;
  std::string mean_file;
  bool mirror = false, force_encoded_color = false, shuffle = false;

  static auto fields() {
    using P = DataParams;
    return Fields(
        "data_param",
        Field("source", &P::source, "a built-in set (mnist_sample/train), IDX, npz, LMDB, LevelDB"),
        Field("batch_size", &P::batch_size, "records per batch; required"),
        Field("rand_skip", &P::rand_skip, "start after up to this many records, at random"),
        Field("backend", &P::backend, "for Caffe's databases: LMDB or LEVELDB"),
        Field("scale", &P::scale, "old place of transform_param.scale"),
        Field("mean_file", &P::mean_file, "old place of transform_param.mean_file"),
        Field("crop_size", &P::crop_size, "old place of transform_param.crop_size"),
        Field("mirror", &P::mirror, "old place of transform_param.mirror"),
        Field("force_encoded_color", &P::force_encoded_color, "decode images to 3 channels"),
        Field("prefetch", &P::prefetch, "batches to read ahead, while the net computes"),
        Field("shuffle", &P::shuffle, "a new random order in each pass over the source"),
        Field("workers", &P::workers, "processes that read and decode; 0: this one does"));
  }
};

// tops: data (batch_size, C, H, W), and perhaps label (batch_size)
class Data final : public LayerOf<DataParams, TransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {1, 2}; }
  std::vector<int64_t*> state() override { return {&feed_->cursor}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const DataParams& p = params_of();
    check(p.batch_size > 0, "data_param.batch_size must be given and positive");
    check(!p.source.empty(), "data_param.source must be given");
    const auto& open = checked_hook(data_hooks().open, p.source);
    const TransformParams transform = with_old_fields(params_of<TransformParams>(), p);
    SourceRequest request;
    request.layer = "Data";
    request.source = p.source;
    request.backend = !p.backend ? "" : *p.backend == Backend::kLmdb ? "LMDB" : "LEVELDB";
    request.color = p.force_encoded_color ? "color" : color_of(transform);
    request.workers = p.workers;
    feed_ = std::make_unique<RecordFeed>(
        open(request),
        RecordFeed::Options{p.batch_size, p.shuffle, p.rand_skip, p.prefetch, transform}, *this);
  }

  bool wants_reshape(const Blobs& top) override { return feed_->WantsReshape(*top[0]); }
  void Reshape(const Blobs&, const Blobs& top) override { feed_->Reshape(top); }
  void Forward(const Blobs&, const Blobs& top) override { feed_->Forward(top); }

 private:
  std::unique_ptr<RecordFeed> feed_;
};

PYDL_REGISTER_LAYER("Data", Data, "Batches of records from a data set or database.");

}  // namespace pydl
