// Where data layers get their records from: a program opens files and databases, the core draws
// the order, reads ahead and transforms.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pydl/blob.h"

namespace pydl {

// An object in an image and the box around it, as parts of the image's width and height.
struct BoxLabel {
  int32_t label, instance;
  float x1, y1, x2, y2;
  bool difficult;
};

// An image and its label, or the boxes in it. The values are bytes or floats: one of the two
// pointers is set.
struct Record {
  Shape shape;  // (C, H, W)
  const uint8_t* bytes = nullptr;
  const float* floats = nullptr;
  float label = 0;
  bool annotated = false;  // boxes tell what is in the image, not label
  std::vector<BoxLabel> boxes;
  std::string name;                    // for messages: a key, a file; may be empty
  std::shared_ptr<const void> memory;  // keeps the values alive
};
using Records = std::vector<Record>;

Record make_record(Shape shape, std::vector<float> values, float label);

// Records addressed by number. They need not have one shape.
class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual int64_t size() const = 0;
  // The records of these numbers (0 to size() - 1), in this order. Called by one thread at a time,
  // but not always by the same one.
  virtual Records Read(const std::vector<int64_t>& numbers) = 0;
  // Reading takes no time, so that nothing is gained by doing it ahead.
  virtual bool in_memory() const { return false; }
};

// Records in memory. `images`: a record of record_shape for each label, bytes or floats.
class ArraySource final : public DataSource {
 public:
  ArraySource(Shape record_shape, std::shared_ptr<const uint8_t> images, std::vector<float> labels);
  ArraySource(Shape record_shape, std::shared_ptr<const float> images, std::vector<float> labels);
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  Records Read(const std::vector<int64_t>& numbers) override;
  bool in_memory() const override { return true; }

 private:
  Shape record_shape_;
  std::shared_ptr<const uint8_t> bytes_;
  std::shared_ptr<const float> floats_;
  std::vector<float> labels_;
};

// Parts of images, for WindowData.
struct Window {
  int64_t image;  // number of its record
  float label, overlap;
  int32_t x1, y1, x2, y2;  // both ends are inside
};
struct WindowSet {
  std::shared_ptr<DataSource> images;
  std::vector<Window> windows;
};

// Rows of several columns of floats, in one file after another (HDF5).
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual std::vector<int64_t> file_rows() const = 0;  // how many rows each file has
  virtual std::vector<Shape> row_shapes() const = 0;   // of each column
  // These rows, counted over all files, of each column: (rows, ...).
  virtual std::vector<std::vector<float>> Read(const std::vector<int64_t>& rows) = 0;
};

// A file to which rows are added (HDF5Output).
class RowSink {
 public:
  struct Column {
    std::string name;
    Shape shape;  // (rows, ...)
    const float* values;
  };
  virtual ~RowSink() = default;
  virtual void Append(const std::vector<Column>& columns) = 0;
};

// What a layer wants opened.
struct SourceRequest {
  std::string layer;                      // its type
  std::string source;                     // as the prototxt names it
  std::string backend;                    // Data: "LMDB", "LEVELDB", or ""
  std::string color;                      // of encoded images: "color", "gray", or "" as they are
  std::string root_folder;                // put before the names of images
  int64_t new_height = 0, new_width = 0;  // to resize images to, or 0
  bool cache = false;                     // image files stay in memory
  bool shuffle = false;                   // HDF5Data: rows are read in a random order
  int64_t workers = 0;                    // processes that read and decode
  std::vector<std::string> columns;       // HDF5Data
};

// Python sets these; a C++ program sets those that its layers need, before it builds a net.
struct DataHooks {
  std::function<std::shared_ptr<DataSource>(const SourceRequest&)> open;         // Data, ImageData
  std::function<WindowSet(const SourceRequest&)> open_windows;                   // WindowData
  std::function<std::shared_ptr<RowSource>(const SourceRequest&)> open_rows;     // HDF5Data
  std::function<std::shared_ptr<RowSink>(const std::string& path)> open_output;  // HDF5Output
  // The mean image of a transform_param.mean_file, (C, H, W).
  std::function<std::vector<float>(const std::string& path, Shape* shape)> read_mean;
  // The names of the classes in a label_map_file (DetectionOutput).
  std::function<std::map<int32_t, std::string>(const std::string& path)> read_label_names;
  // What noise_param does with libraries of images: "jpeg", with its quality, "clahe", "hsv" or
  // "lab". bytes: (C, H, W), blue first, which are replaced.
  std::function<void(const std::string& what, int quality, const Shape& shape, uint8_t* bytes)>
      change_picture;
};
void set_data_hooks(DataHooks hooks);
const DataHooks& data_hooks();

// Ends the threads that read ahead, for good: from then on data is read when it is needed.
void stop_reading_ahead();

// Whether the calling thread is one that reads ahead: it cannot end the net that it reads for,
// which would wait for it.
bool is_reading_ahead();

// Reads the one blob of a .binaryproto, such as the matrix of an infogain_loss_param.source. Python
// sets it; a C++ program sets its own.
using BlobReader = std::function<std::vector<float>(const std::string& path, Shape* shape)>;
void set_blob_reader(BlobReader reader);
const BlobReader& blob_reader();

}  // namespace pydl
