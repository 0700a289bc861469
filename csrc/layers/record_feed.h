// What Data, ImageData and DenseImageData share: batches of records from a source, read ahead and
// transformed.
#pragma once

#include <memory>

#include "core/read_ahead.h"
#include "layers/transform.h"
#include "pydl/layer.h"

namespace pydl {

class RecordFeed {
 public:
  struct Options {
    int64_t batch = 1;
    bool shuffle = false;
    uint32_t rand_skip = 0;  // the run begins behind up to this many records
    int64_t ahead = 0;       // batches to read ahead
    TransformParams transform;
    bool label_maps = false;  // as in transform.h
  };

  RecordFeed(std::shared_ptr<DataSource> source, Options options, const Layer& layer);

  // The next batch has images of another size than `top`.
  bool WantsReshape(const Blob& top);
  // data (batch, C, H, W), and perhaps label: (batch), or (batch, 1, H, W) of label maps
  void Reshape(const Blobs& top) const;
  void Forward(const Blobs& top);

  int64_t cursor = 0;  // records given out so far: what was only read ahead does not count

 private:
  const Records& NextBatch();
  void Open(uint64_t seed);

  std::shared_ptr<DataSource> source_;
  Options options_;
  const Layer& layer_;
  Transform transform_;
  Shape out_;  // of a record of the next batch
  uint64_t seed_;
  std::unique_ptr<ReadAhead> batches_;
  std::shared_ptr<const void> batch_;
};

// transform_param, with the fields that older files have in the layer's own message.
template <class P>
TransformParams with_old_fields(TransformParams transform, const P& params) {
  if (params.scale != 1) transform.scale = params.scale;
  if (!params.mean_file.empty()) transform.mean_file = params.mean_file;
  if (params.crop_size > 0) transform.crop_size = params.crop_size;
  if (params.mirror) transform.mirror = true;
  return transform;
}

// SourceRequest::color of a transform.
inline const char* color_of(const TransformParams& transform) {
  return transform.force_color ? "color" : transform.force_gray ? "gray" : "";
}

}  // namespace pydl
