#include "pydl/blob.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "core/check.h"
#include "core/memory.h"
#include "kernels/eltwise.h"

namespace pydl {

namespace {

constexpr int kMaxAxes = 32;
constexpr int kMaxCopies = 8;

// Outer, channel and inner counts of a shape whose axis 1 is the channel.
struct ChannelView {
  int64_t n, c, s;
};
ChannelView channel_view(const Shape& shape) {
  ChannelView v{shape[0], shape[1], 1};
  for (size_t i = 2; i < shape.size(); ++i) v.s *= shape[i];
  return v;
}

// A layout that orders the elements of this shape as kPlain does is kPlain.
Layout same_order(Layout layout, const Shape& shape) {
  if (layout == Layout::kPlain || shape.size() < 3) return Layout::kPlain;
  const ChannelView v = channel_view(shape);
  return v.c == 1 || v.s == 1 ? Layout::kPlain : layout;
}

}  // namespace

int64_t shape_count(const Shape& shape) {
  for (int64_t dim : shape) {
    check(dim >= 0, "a blob of shape ", shape_text(shape), ": ", dim, " is negative");
  }
  // Of the dims that are not 0, since others (numpy) multiply those of an empty array too.
  int64_t count = 1;
  bool empty = false;
  const int64_t most = memory_limit() / static_cast<int64_t>(sizeof(float));
  for (int64_t dim : shape) {
    if (dim == 0) {
      empty = true;
      continue;
    }
    count = count > std::numeric_limits<int64_t>::max() / dim ? -1 : count * dim;
    if (count < 0 || count > most) break;
  }
  check(count >= 0 && count <= most, "a blob of shape ", shape_text(shape),
        " is larger than the memory limit of ", memory_limit() >> 20,
        " MiB; make it smaller or raise PYDL_MEMORY_LIMIT");
  return empty ? 0 : count;
}

void Tensor::resize(int64_t count) {
  if (count == count_) return;
  count_ = count;
  exposed_ = -1;
  for (Copy& copy : copies_) copy.valid = false;
  ++version_;
}

Tensor::Copy& Tensor::find(Format format, const Shape& shape) {
  check(format.device == Device::kCpu, "this pydl was built without CUDA");
  format.layout = same_order(format.layout, shape);
  const bool plain = format.layout == Layout::kPlain;
  Copy* stale = nullptr;  // of another shape: its memory is taken over
  for (Copy& copy : copies_) {
    if (copy.format != format) continue;
    if (plain || copy.shape == shape) return copy;
    const bool is_exposed = exposed_ >= 0 && &copy == &copies_[exposed_];
    if (!copy.valid && !is_exposed) stale = &copy;
  }
  if (stale) {
    stale->shape = shape;
    return *stale;
  }
  if (copies_.empty()) copies_.reserve(kMaxCopies);
  if (copies_.size() == kMaxCopies) {  // more shapes than anybody keeps in use: replace a stale one
    for (size_t i = 0; i < copies_.size(); ++i) {
      if (copies_[i].valid || static_cast<int>(i) == exposed_) continue;
      copies_[i] = Copy{format, shape, nullptr};
      return copies_[i];
    }
    fail("a blob is in use in too many formats");
  }
  return copies_.emplace_back(Copy{format, plain ? Shape{} : shape, nullptr});
}

void Tensor::ensure_capacity(Copy* copy, int64_t bytes) {
  if (copy->memory && copy->capacity >= bytes) return;
  copy->memory = allocate(bytes);
  copy->capacity = bytes;
  copy->adopted = false;
}

void Tensor::convert(const Copy& from, Copy* to) {
  const std::byte* source = from.memory.get();
  std::byte* target = to->memory.get();
  const auto& kernels = kernels::eltwise_kernels();
  if (from.format.dtype != to->format.dtype) {
    check(from.format.layout == to->format.layout, "no direct conversion between these formats");
    return kernels.convert(count_, {source, from.format.dtype}, {target, to->format.dtype});
  }
  const bool forth = to->format.layout == Layout::kChannelsLast;
  const ChannelView v = channel_view(forth ? to->shape : from.shape);
  (forth ? kernels.to_channels_last : kernels.to_plain)(
      v.n, v.c, v.s, ConstArray(source, from.format.dtype), Array(target, to->format.dtype));
}

// Conversions are direct between plain and channels-last of one dtype, and between dtypes of one
// layout; all others go by way of these, changing the layout in the smaller dtype.
void Tensor::make_valid(Copy* copy) {
  if (exposed_ >= 0 && copies_[exposed_].valid && copy != &copies_[exposed_]) copy->valid = false;
  if (copy->valid) return;
  const int64_t bytes = count_ * bytes_of(copy->format.dtype);
  ensure_capacity(copy, bytes);
  Copy* source = nullptr;
  if (exposed_ >= 0 && copies_[exposed_].valid) {
    source = &copies_[exposed_];
  } else {
    const auto direct = [&](const Copy& c) {
      return (c.format.dtype != copy->format.dtype) +
             (c.format.layout != copy->format.layout || c.shape != copy->shape);
    };
    for (Copy& c : copies_) {
      if (c.valid && (!source || direct(c) < direct(*source))) source = &c;
    }
  }
  if (!source) {  // never written: zeros, as Caffe's memory starts
    std::memset(copy->memory.get(), 0, static_cast<size_t>(bytes));
    copy->valid = true;
    return;
  }
  const bool same_dtype = source->format.dtype == copy->format.dtype;
  const bool same_layout =
      source->format.layout == copy->format.layout && source->shape == copy->shape;
  const bool one_is_plain =
      source->format.layout == Layout::kPlain || copy->format.layout == Layout::kPlain;
  const bool is_direct = same_layout || (same_dtype && one_is_plain);
  if (!is_direct) {
    Format between = source->format;
    Shape shape = source->shape;
    if (copy->format.dtype == DType::kBFloat16 && !same_dtype) {
      between.dtype = DType::kBFloat16;
    } else {
      between.layout = one_is_plain ? copy->format.layout : Layout::kPlain;
      shape = copy->shape;
    }
    Copy& middle = find(between, shape);
    make_valid(&middle);
    source = &middle;
  }
  convert(*source, copy);
  copy->valid = true;
}

const void* Tensor::read(Format format, const Shape& shape) {
  Copy& copy = find(format, shape);
  make_valid(&copy);
  return copy.memory.get();
}

void* Tensor::write(Format format, const Shape& shape) {
  Copy& copy = find(format, shape);
  const int64_t bytes = count_ * bytes_of(format.dtype);
  ensure_capacity(&copy, bytes);
  for (Copy& other : copies_) other.valid = false;
  copy.valid = true;
  ++version_;
  return copy.memory.get();
}

void* Tensor::update(Format format, const Shape& shape) {
  read(format, shape);
  return write(format, shape);
}

void Tensor::clear() {
  for (Copy& copy : copies_) copy.valid = false;
  if (exposed_ >= 0) make_valid(&copies_[exposed_]);
  ++version_;
}

bool Tensor::is_clear() const {
  return std::none_of(copies_.begin(), copies_.end(), [](const Copy& c) { return c.valid; });
}

ArrayView Tensor::expose(Layout home, const Shape& shape) {
  if (exposed_ < 0) {
    Format format{Device::kCpu, same_order(home, shape), DType::kFloat32};
    read(format, shape);
    exposed_ = static_cast<int>(&find(format, shape) - copies_.data());
  }
  refresh_exposed();
  const Copy& copy = copies_[exposed_];
  ArrayView view{copy.memory, reinterpret_cast<float*>(copy.memory.get()), shape, {}};
  view.strides.resize(shape.size());
  int64_t stride = 1;
  const bool last = copy.format.layout == Layout::kChannelsLast;
  if (last) view.strides[1] = stride, stride = shape[1];
  for (size_t i = shape.size(); i-- > 0;) {
    if (last && i == 1) continue;
    view.strides[i] = stride;
    stride *= shape[i];
  }
  ++version_;  // the holder may write at any time
  return view;
}

void Tensor::refresh_exposed() {
  if (exposed_ >= 0 && !copies_[exposed_].valid) make_valid(&copies_[exposed_]);
}

void Tensor::place(std::shared_ptr<std::byte> memory) {
  const void* old = read({}, {});
  std::memcpy(memory.get(), old, static_cast<size_t>(count_) * sizeof(float));
  copies_.clear();
  copies_.reserve(kMaxCopies);
  copies_.push_back({{}, {}, std::move(memory), count_ * int64_t{sizeof(float)}, true});
  exposed_ = -1;
  ++version_;
}

void Tensor::adopt(std::shared_ptr<std::byte> memory, int64_t bytes, Format format,
                   const Shape& shape) {
  format.layout = same_order(format.layout, shape);
  copies_.clear();
  copies_.reserve(kMaxCopies);
  const bool plain = format.layout == Layout::kPlain;
  copies_.push_back(
      {format, plain ? Shape{} : shape, std::move(memory), bytes, false, /*adopted=*/true});
  exposed_ = -1;
  ++version_;
}

int64_t Tensor::bytes() const {
  int64_t total = 0;
  for (const Copy& copy : copies_) total += copy.adopted ? 0 : copy.capacity;
  return total;
}

Blob::Blob(const Shape& shape)
    : data_(std::make_shared<Tensor>()), diff_(std::make_shared<Tensor>()) {
  Reshape(shape);
}

void Blob::Reshape(const Shape& shape) {
  if (shape == shape_ && data_->count() == count_ && diff_->count() == count_) return;
  check(shape.size() <= kMaxAxes, "a blob of ", shape.size(), " axes; at most ", kMaxAxes,
        " are supported");
  const int64_t count = shape_count(shape);
  shape_ = shape;
  count_ = count;
  // A shared tensor follows its owner's shape.
  if (!shares_data_) data_->resize(count);
  if (!shares_diff_) diff_->resize(count);
}

int64_t Blob::shape(int axis) const { return shape_[CanonicalAxis(axis)]; }

int64_t Blob::count(int begin, int end) const {
  int64_t count = 1;
  for (int i = begin; i < end; ++i) count *= shape_[i];
  return count;
}

int Blob::CanonicalAxis(int axis) const {
  check(axis >= -axes() && axis < axes(), "axis ", axis, " is out of range for a blob of shape ",
        shape_text(shape_), " (", axes(), " axes)");
  return axis < 0 ? axis + axes() : axis;
}

namespace {
Format in_layout(Layout layout) { return {Device::kCpu, layout, DType::kFloat32}; }
}  // namespace

const float* Blob::data(Layout layout) const {
  return static_cast<const float*>(data_->read(in_layout(layout), shape_));
}
float* Blob::mutable_data(Layout layout) {
  return static_cast<float*>(data_->write(in_layout(layout), shape_));
}
float* Blob::update_data(Layout layout) {
  return static_cast<float*>(data_->update(in_layout(layout), shape_));
}
const float* Blob::diff(Layout layout) const {
  return static_cast<const float*>(diff_->read(in_layout(layout), shape_));
}
float* Blob::mutable_diff(Layout layout) {
  return static_cast<float*>(diff_->write(in_layout(layout), shape_));
}
float* Blob::update_diff(Layout layout) {
  return static_cast<float*>(diff_->update(in_layout(layout), shape_));
}

ConstArray Blob::data(Format format) const { return {data_->read(format, shape_), format.dtype}; }
Array Blob::mutable_data(Format format) { return {data_->write(format, shape_), format.dtype}; }
Array Blob::update_data(Format format) { return {data_->update(format, shape_), format.dtype}; }
ConstArray Blob::diff(Format format) const { return {diff_->read(format, shape_), format.dtype}; }
Array Blob::mutable_diff(Format format) { return {diff_->write(format, shape_), format.dtype}; }
Array Blob::update_diff(Format format) { return {diff_->update(format, shape_), format.dtype}; }

Blob::Sum Blob::accumulate_diff() {
  if (diff_->is_clear()) return {mutable_diff(), false};
  return {update_diff(), true};
}

void Blob::ShareData(const Blob& other) {
  check(count_ == other.count_, "cannot share memory between blobs of shapes ", shape_text(shape_),
        " and ", shape_text(other.shape_));
  data_ = other.data_;
  shares_data_ = true;
}

void Blob::ShareDiff(const Blob& other) {
  check(count_ == other.count_, "cannot share memory between blobs of shapes ", shape_text(shape_),
        " and ", shape_text(other.shape_));
  diff_ = other.diff_;
  shares_diff_ = true;
}

}  // namespace pydl
