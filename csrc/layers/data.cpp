// Data: batches of records from a data set or database, in order or shuffled.
//
// As in Caffe the first record of a batch says which size the batch has: records of several sizes
// can be cut to one by crop_size, or come in batches of one.

#include "core/check.h"
#include "layers/data_params.h"
#include "layers/record_feed.h"
#include "layers/source_hook.h"

namespace pydl {

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
    const SourceRequest request = source_request("Data", p, color_of(transform));
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
