#include "pydl/data.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "kernels/parallel.h"

namespace pydl {

ArraySource::ArraySource(Shape record_shape, std::shared_ptr<const uint8_t> images,
                         std::vector<float> labels)
    : record_shape_(std::move(record_shape)),
      bytes_(std::move(images)),
      labels_(std::move(labels)) {}

ArraySource::ArraySource(Shape record_shape, std::shared_ptr<const float> images,
                         std::vector<float> labels)
    : record_shape_(std::move(record_shape)),
      floats_(std::move(images)),
      labels_(std::move(labels)) {}

void ArraySource::Read(const int64_t* indices, int64_t count, float* images, float* labels) {
  const int64_t record = shape_count(record_shape_);
  for (int64_t i = 0; i < count; ++i) {
    check(indices[i] >= 0 && indices[i] < size(), "record ", indices[i], " of ", size());
    labels[i] = labels_[indices[i]];
  }
  constexpr int64_t kGrain = 1 << 16;  // floats worth a thread
  kernels::parallel_for(count, std::max<int64_t>(1, kGrain / record), [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      float* to = images + i * record;
      const int64_t from = indices[i] * record;
      if (bytes_) {
        std::copy(bytes_.get() + from, bytes_.get() + from + record, to);
      } else {
        std::copy(floats_.get() + from, floats_.get() + from + record, to);
      }
    }
  });
}

namespace {
DataHooks& hooks() {
  static DataHooks value;
  return value;
}
BlobReader& reader() {
  static BlobReader value;
  return value;
}
}  // namespace

void set_data_hooks(DataHooks value) { hooks() = std::move(value); }
const DataHooks& data_hooks() { return hooks(); }

void set_blob_reader(BlobReader value) { reader() = std::move(value); }
const BlobReader& blob_reader() { return reader(); }

}  // namespace pydl
