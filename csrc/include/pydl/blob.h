// N-dimensional arrays that layers pass on: data and diff (its gradient), each kept in one or
// several formats and converted when another format is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pydl/array.h"

namespace pydl {

using Shape = std::vector<int64_t>;

enum class Device : uint8_t { kCpu, kCuda };
enum class Layout : uint8_t { kPlain, kChannelsLast };  // (N, C, spatial...), (N, spatial..., C)

struct Format {
  Device device = Device::kCpu;
  Layout layout = Layout::kPlain;
  DType dtype = DType::kFloat32;
  bool operator==(const Format&) const = default;
};

// Product of the dims; throws pydl::Error on a negative dim or where the bytes of that many floats
// would not fit the memory limit.
int64_t shape_count(const Shape& shape);

// Most bytes that one blob or one net may take: the machine's memory, or PYDL_MEMORY_LIMIT (bytes).
int64_t memory_limit();
void set_memory_limit(int64_t bytes);

// Float32 memory handed out to somebody who may read and write it at any time (numpy).
struct ArrayView {
  std::shared_ptr<std::byte> memory;  // keeps it alive
  float* data;
  Shape shape;    // (N, C, spatial...)
  Shape strides;  // in floats
};

// One array in up to a few formats. Exactly like Caffe's SyncedMemory, with formats in the place of
// CPU and GPU: reading in a format that is stale converts; writing makes the other formats stale.
// A channels-last copy depends on the shape it was made for, so the shape goes along.
class Tensor {
 public:
  int64_t count() const { return count_; }
  // Contents are kept if the count is the same, else zero. Memory is reused when large enough.
  void resize(int64_t count);

  const void* read(Format format, const Shape& shape);
  void* write(Format format, const Shape& shape);   // everything will be overwritten
  void* update(Format format, const Shape& shape);  // read, then changed in part
  // All zeros from now on; memory is not touched before somebody reads it.
  void clear();
  bool is_clear() const;

  // Hands the memory out, as a view in the (N, C, ...) order, in float32 on the CPU: as it is if
  // its layout is `home` or plain, else converted to `home`. From then on this copy is made current
  // after each layer and is what other formats are converted from, until the count changes.
  ArrayView expose(Layout home, const Shape& shape);
  bool exposed() const { return exposed_ >= 0; }
  void refresh_exposed();

  // Moves the contents to plain float32 memory owned elsewhere (an arena). Views handed out before
  // keep the old memory alive but no longer see changes.
  void place(std::shared_ptr<std::byte> memory);
  // All zeros, and in this format in memory owned elsewhere, which is not touched before somebody
  // reads or writes it. Where its `bytes` are too few, or for other formats, own memory is taken.
  void adopt(std::shared_ptr<std::byte> memory, int64_t bytes, Format format, const Shape& shape);

  uint64_t version() const { return version_; }  // grows with every write
  void touch() { ++version_; }                   // its memory was written from outside
  int64_t bytes() const;                         // of its own memory, all formats together

 private:
  struct Copy {
    Format format;
    Shape shape;  // of a channels-last copy
    std::shared_ptr<std::byte> memory;
    int64_t capacity = 0;  // bytes
    bool valid = false;
    bool adopted = false;  // its memory is owned elsewhere
  };
  Copy& find(Format format, const Shape& shape);
  static void ensure_capacity(Copy* copy, int64_t bytes);
  void make_valid(Copy* copy);
  void convert(const Copy& from, Copy* to);

  int64_t count_ = 0;
  std::vector<Copy> copies_;  // at most a few: reserved, so that references stay good
  int exposed_ = -1;
  uint64_t version_ = 1;
};

// Blobs of a net and of its layers are owned by shared_ptr; Python takes part in that.
class Blob : public std::enable_shared_from_this<Blob> {
 public:
  Blob() : Blob(Shape{0}) {}
  explicit Blob(const Shape& shape);

  // Throws pydl::Error for negative dims, more than 32 axes or more memory than the limit.
  void Reshape(const Shape& shape);
  void ReshapeLike(const Blob& other) { Reshape(other.shape()); }
  const Shape& shape() const { return shape_; }
  int64_t shape(int axis) const;  // negative: from the end
  int axes() const { return static_cast<int>(shape_.size()); }
  int64_t count() const { return count_; }
  int64_t count(int begin, int end) const;  // product of shape[begin, end)
  int64_t count(int begin) const { return count(begin, axes()); }
  // 0 <= result < axes() of an axis that may be negative; throws pydl::Error.
  int CanonicalAxis(int axis) const;

  // float32 on the CPU. mutable_*: all of it will be written; update_*: read, then changed in part.
  // In place: call data() on the bottom before mutable_data() on the top.
  const float* data(Layout layout = Layout::kPlain) const;
  float* mutable_data(Layout layout = Layout::kPlain);
  float* update_data(Layout layout = Layout::kPlain);
  const float* diff(Layout layout = Layout::kPlain) const;
  float* mutable_diff(Layout layout = Layout::kPlain);
  float* update_diff(Layout layout = Layout::kPlain);
  // For a gradient that is added to: `add` is false where nothing was added since it was cleared,
  // and the memory is then to be overwritten.
  struct Sum {
    float* data;
    bool add;
  };
  Sum accumulate_diff();
  // The same in any format.
  ConstArray data(Format format) const;
  Array mutable_data(Format format);
  Array update_data(Format format);
  ConstArray diff(Format format) const;
  Array mutable_diff(Format format);
  Array update_diff(Format format);

  Tensor& data_tensor() const { return *data_; }
  Tensor& diff_tensor() const { return *diff_; }
  // The same memory from now on; counts must be equal.
  void ShareData(const Blob& other);
  void ShareDiff(const Blob& other);

  // The format that the net's format pass chose. Python gets a view in its layout.
  Format format() const { return format_; }
  Layout layout() const { return format_.layout; }
  void set_format(Format format) { format_ = format; }

 private:
  Shape shape_;
  int64_t count_ = -1;  // until the first Reshape: the empty shape is a scalar's
  Format format_;
  std::shared_ptr<Tensor> data_, diff_;
  bool shares_data_ = false, shares_diff_ = false;
};

}  // namespace pydl
