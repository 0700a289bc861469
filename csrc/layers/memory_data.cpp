// MemoryData: batches from arrays that the program hands over.

#include "pydl/memory_data.h"

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "layers/augment.h"
#include "layers/transform.h"

namespace pydl {

void MemoryData::SetUp(const Blobs&, const Blobs&) {
  const MemoryDataParams& p = params_of();
  check(
      p.batch_size > 0 && p.channels > 0 && p.height > 0 && p.width > 0,
      "memory_data_param: batch_size, channels, height and width must be given and positive, got ",
      p.batch_size, ", ", p.channels, ", ", p.height, ", ", p.width);
  if (const auto& augment = params_of<TransformParams>().augment) check_params(*augment);
  batch_size_ = p.batch_size;
}

Shape MemoryData::batch_shape() const {
  const MemoryDataParams& p = params_of();
  return {batch_size_, p.channels, p.height, p.width};
}

void MemoryData::set_batch_size(int64_t batch_size) {
  check(batch_size > 0, "layer \"", name(), "\": a batch size of ", batch_size);
  batch_size_ = batch_size;
  data_.clear();
  labels_.clear();
}

bool MemoryData::wants_reshape(const Blobs& top) { return top[0]->shape(0) != batch_size_; }

void MemoryData::Reshape(const Blobs&, const Blobs& top) {
  top[0]->Reshape(batch_shape());
  top[1]->Reshape({batch_size_, 1, 1, 1});  // four axes, as Caffe has it
}

void MemoryData::CheckCount(int64_t count) const {
  check(count > 0 && count % batch_size_ == 0, "layer \"", name(), "\": ", count,
        " records given; their number must be a multiple of the batch size ", batch_size_);
}

void MemoryData::Reset(const float* data, const float* labels, int64_t count) {
  CheckCount(count);
  const int64_t record = shape_count(batch_shape()) / batch_size_;
  data_.assign(data, data + count * record);
  labels_.assign(labels, labels + count);
  cursor_ = 0;
}

void MemoryData::Add(const Records& records) {
  const auto count = static_cast<int64_t>(records.size());
  CheckCount(count);
  const Transform transform(params_of<TransformParams>(), phase() == Phase::kTrain);
  const Shape batch = batch_shape(), record(batch.begin() + 1, batch.end());
  const Shape out = transform.out_shape(records[0]);
  check(out == record, "layer \"", name(), "\": the records give ", shape_text(out),
        " after transform_param, but memory_data_param says ", shape_text(record));
  std::vector<float> data(count * shape_count(record));
  transform.Apply(records, context().seed, stream_of(name()), added_, out, data.data());
  data_ = std::move(data);
  labels_.resize(count);
  std::transform(records.begin(), records.end(), labels_.begin(),
                 [](const Record& r) { return r.label; });
  added_ += count;
  cursor_ = 0;
}

void MemoryData::Forward(const Blobs&, const Blobs& top) {
  check(!labels_.empty(), "has no data yet; call set_input_arrays first");
  const auto count = static_cast<int64_t>(labels_.size());
  const int64_t record = top[0]->count(1), at = cursor_ % count;
  std::copy_n(data_.begin() + at * record, batch_size_ * record, top[0]->mutable_data());
  std::copy_n(labels_.begin() + at, batch_size_, top[1]->mutable_data());
  cursor_ = at + batch_size_;
}

PYDL_REGISTER_LAYER("MemoryData", MemoryData, "Batches from arrays in memory.");

}  // namespace pydl
