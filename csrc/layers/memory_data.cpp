// MemoryData: batches from arrays that the program hands over.

#include "pydl/memory_data.h"

#include <algorithm>

#include "core/check.h"

namespace pydl {

void MemoryData::SetUp(const Blobs&, const Blobs&) {
  const MemoryDataParams& p = params_of();
  check(
      p.batch_size > 0 && p.channels > 0 && p.height > 0 && p.width > 0,
      "memory_data_param: batch_size, channels, height and width must be given and positive, got ",
      p.batch_size, ", ", p.channels, ", ", p.height, ", ", p.width);
}

Shape MemoryData::batch_shape() const {
  const MemoryDataParams& p = params_of();
  return {p.batch_size, p.channels, p.height, p.width};
}

void MemoryData::Reshape(const Blobs&, const Blobs& top) {
  top[0]->Reshape(batch_shape());
  top[1]->Reshape({params_of().batch_size, 1, 1, 1});  // four axes, as Caffe has it
}

void MemoryData::Reset(const float* data, const float* labels, int64_t count) {
  const int64_t batch = params_of().batch_size;
  check(count > 0 && count % batch == 0, "layer \"", name(), "\": ", count,
        " records given; their number must be a multiple of the batch size ", batch);
  const int64_t record = shape_count(batch_shape()) / batch;
  data_.assign(data, data + count * record);
  labels_.assign(labels, labels + count);
  cursor_ = 0;
}

void MemoryData::Forward(const Blobs&, const Blobs& top) {
  check(!labels_.empty(), "has no data yet; call set_input_arrays first");
  const int64_t batch = params_of().batch_size, count = static_cast<int64_t>(labels_.size());
  const int64_t record = shape_count(batch_shape()) / batch;
  const int64_t at = cursor_ % count;
  std::copy_n(data_.begin() + at * record, batch * record, top[0]->mutable_data());
  std::copy_n(labels_.begin() + at, batch, top[1]->mutable_data());
  cursor_ = at + batch;
}

PYDL_REGISTER_LAYER("MemoryData", MemoryData, "Batches from arrays in memory.");

}  // namespace pydl
