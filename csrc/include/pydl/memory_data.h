// A layer fed from arrays: public because a program hands them over through it.
#pragma once

#include <vector>

#include "pydl/layer.h"

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
class MemoryData final : public LayerOf<MemoryDataParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {2, 2}; }
  std::vector<int64_t*> state() override { return {&cursor_}; }
  void SetUp(const Blobs& bottom, const Blobs& top) override;
  void Reshape(const Blobs& bottom, const Blobs& top) override;
  void Forward(const Blobs& bottom, const Blobs& top) override;

  // Copies `count` records, a multiple of batch_size; reading starts over. Throws pydl::Error.
  void Reset(const float* data, const float* labels, int64_t count);
  Shape batch_shape() const;

 private:
  std::vector<float> data_, labels_;
  int64_t cursor_ = 0;
};

}  // namespace pydl
