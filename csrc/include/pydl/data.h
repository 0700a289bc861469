// Where a Data layer's records come from.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pydl/blob.h"

namespace pydl {

// Records of one shape, addressed by number. Read may be called from any one thread at a time.
class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual int64_t size() const = 0;
  virtual Shape record_shape() const = 0;  // (C, H, W)
  // Records indices[0 .. count) as floats: images: (count, C, H, W), labels: (count), 0 if none.
  virtual void Read(const int64_t* indices, int64_t count, float* images, float* labels) = 0;
};

// Records in memory. `images`: size records of record_shape, bytes or floats.
class ArraySource final : public DataSource {
 public:
  ArraySource(Shape record_shape, std::shared_ptr<const uint8_t> images, std::vector<float> labels);
  ArraySource(Shape record_shape, std::shared_ptr<const float> images, std::vector<float> labels);
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  Shape record_shape() const override { return record_shape_; }
  void Read(const int64_t* indices, int64_t count, float* images, float* labels) override;

 private:
  Shape record_shape_;
  std::shared_ptr<const uint8_t> bytes_;
  std::shared_ptr<const float> floats_;
  std::vector<float> labels_;
};

// Opens what a Data layer's `source` (and `backend`, "" if not given) names. Python sets these; a
// C++ program sets its own, before it builds a net with a Data layer.
struct DataHooks {
  std::function<std::shared_ptr<DataSource>(const std::string& source, const std::string& backend)>
      open;
  // The mean image of a transform_param.mean_file, (C, H, W).
  std::function<std::vector<float>(const std::string& path, Shape* shape)> read_mean;
};
void set_data_hooks(DataHooks hooks);
const DataHooks& data_hooks();

// Reads the one blob of a .binaryproto, such as the matrix of an infogain_loss_param.source. Python
// sets it; a C++ program sets its own.
using BlobReader = std::function<std::vector<float>(const std::string& path, Shape* shape)>;
void set_blob_reader(BlobReader reader);
const BlobReader& blob_reader();

}  // namespace pydl
