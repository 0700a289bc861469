// A layer fed from arrays: public because a program hands them over through it.
#pragma once

#include <vector>

#include "pydl/data.h"
#include "pydl/layer.h"
#include "pydl/transform_params.h"

namespace pydl {

struct MemoryDataParams {
  uint32_t batch_size = 0, channels = 0, height = 0, width = 0;

  static auto fields() {
    using P = MemoryDataParams;
    return Fields("memory_data_param",
                  Field("batch_size", &P::batch_size, "records per batch; required"),
                  Field("channels", &P::channels, "channels of a record; required"),
                  Field("height", &P::height, "rows of a record; required"),
                  Field("width", &P::width, "columns of a record; required"));
  }
};

// tops: data (batch_size, channels, height, width), label (batch_size, 1, 1, 1)
class MemoryData final : public LayerOf<MemoryDataParams, TransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {2, 2}; }
  std::vector<int64_t*> state() override { return {&cursor_, &added_}; }
  void SetUp(const Blobs& bottom, const Blobs& top) override;
  bool wants_reshape(const Blobs& top) override;
  void Reshape(const Blobs& bottom, const Blobs& top) override;
  void Forward(const Blobs& bottom, const Blobs& top) override;

  // Copies `count` records as they are (transform_param is for Add, as in Caffe), a multiple of the
  // batch size; reading starts over. Throws pydl::Error.
  void Reset(const float* data, const float* labels, int64_t count);
  // The same with records that are transformed as transform_param says.
  void Add(const Records& records);
  // For the arrays to come.
  void set_batch_size(int64_t batch_size);
  Shape batch_shape() const;

 private:
  void CheckCount(int64_t count) const;

  int64_t batch_size_ = 0;
  std::vector<float> data_, labels_;
  int64_t cursor_ = 0;
  int64_t added_ = 0;  // records transformed so far
};

}  // namespace pydl
