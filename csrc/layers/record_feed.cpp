#include "layers/record_feed.h"

#include <algorithm>

#include "core/check.h"
#include "core/pass_order.h"
#include "core/random.h"

namespace pydl {

RecordFeed::RecordFeed(std::shared_ptr<DataSource> source, Options options, const Layer& layer)
    : source_(std::move(source)),
      options_(std::move(options)),
      layer_(layer),
      transform_(options_.transform, layer.phase() == Phase::kTrain, options_.label_maps),
      seed_(layer.context().seed) {
  check(source_->size() > 0, "its source is empty");
  if (options_.rand_skip > 0) {
    cursor = Random(seed_, stream_of(layer.name()) + kSkipStream).below(options_.rand_skip);
  }
  Open(seed_);
  PassOrder order(source_->size(), options_.shuffle, seed_, stream_of(layer.name()));
  out_ = transform_.out_shape(source_->Read({order.at(cursor)}).at(0));
}

void RecordFeed::Open(uint64_t seed) {
  seed_ = seed;
  const auto order = std::make_shared<PassOrder>(source_->size(), options_.shuffle, seed,
                                                 stream_of(layer_.name()));
  const auto read = [order, source = source_, n = options_.batch](int64_t first) {
    std::vector<int64_t> numbers(n);
    for (int64_t i = 0; i < n; ++i) numbers[i] = order->at(first + i);
    return std::make_shared<const Records>(source->Read(numbers));
  };
  const int64_t ahead = source_->in_memory() ? 0 : options_.ahead;
  batches_ = std::make_unique<ReadAhead>(read, options_.batch, ahead);
}

const Records& RecordFeed::NextBatch() {
  if (layer_.context().seed != seed_) Open(layer_.context().seed);
  batch_ = batches_->Get(cursor);
  return *static_cast<const Records*>(batch_.get());
}

bool RecordFeed::WantsReshape(const Blob& top) {
  out_ = transform_.out_shape(NextBatch()[0]);
  return !std::equal(out_.begin(), out_.end(), top.shape().begin() + 1, top.shape().end());
}

void RecordFeed::Reshape(const Blobs& top) const {
  Shape shape = out_;
  shape.insert(shape.begin(), options_.batch);
  top[0]->Reshape(shape);
  if (top.size() < 2) return;
  top[1]->Reshape(options_.label_maps ? Shape{options_.batch, 1, out_[1], out_[2]}
                                      : Shape{options_.batch});
}

void RecordFeed::Forward(const Blobs& top) {
  const Records& records = NextBatch();
  float* labels = options_.label_maps ? top[1]->mutable_data() : nullptr;
  transform_.Apply(records, seed_, stream_of(layer_.name()), cursor, out_, top[0]->mutable_data(),
                   labels);
  if (top.size() > 1 && !labels) {
    std::transform(records.begin(), records.end(), top[1]->mutable_data(),
                   [](const Record& r) { return r.label; });
  }
  batch_.reset();
  cursor += options_.batch;
}

}  // namespace pydl
