#include "pydl/data.h"

#include "core/check.h"

namespace pydl {

Record make_record(Shape shape, std::vector<float> values, float label) {
  check(shape_count(shape) == static_cast<int64_t>(values.size()), "a record of ",
        shape_text(shape), " is given ", values.size(), " values");
  auto memory = std::make_shared<std::vector<float>>(std::move(values));
  Record record;
  record.shape = std::move(shape);
  record.floats = memory->data();
  record.label = label;
  record.memory = std::move(memory);
  return record;
}

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

Records ArraySource::Read(const std::vector<int64_t>& numbers) {
  const int64_t count = shape_count(record_shape_);
  Records records;
  records.reserve(numbers.size());
  for (int64_t i : numbers) {
    check(i >= 0 && i < size(), "record ", i, " of ", size());
    Record r;
    r.shape = record_shape_;
    if (bytes_) {
      r.bytes = bytes_.get() + i * count;
    } else {
      r.floats = floats_.get() + i * count;
    }
    r.label = labels_[i];
    records.push_back(std::move(r));
  }
  return records;
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
