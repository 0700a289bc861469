// What is done to each record of a data layer.
#pragma once

#include <vector>

#include "core/random.h"
#include "kernels/image.h"
#include "pydl/data.h"
#include "pydl/transform_params.h"

namespace pydl {

// The mean image of a mean_file and its shape (C, H, W); both empty where none is given.
struct MeanImage {
  std::vector<float> values;
  Shape shape;
};

// Throws pydl::Error if mean_value is given as well, or nothing can read the file.
MeanImage read_mean_image(const TransformParams& params);

// The mean of each of `channels` channels: mean_value, given once or once per channel; else zeros.
std::vector<float> channel_means(const TransformParams& params, int64_t channels);

// y = (cut out and perhaps mirrored x - mean) * scale; in TRAIN x may be varied (augment.h).
class Transform {
 public:
  // label_maps: the last channel of a record has the labels of its pixels, which are cut out and
  // mirrored with them, and are else as they are.
  Transform(const TransformParams& params, bool train, bool label_maps = false);

  // What becomes of a record: (C, H', W'), without labels. Throws pydl::Error where mean or crop do
  // not fit it.
  Shape out_shape(const Record& record) const;

  // `records`, the first being number `first` of the run: what is random is a function of (seed,
  // stream, number). y: (records, C, H', W'); labels: null, or (records, 1, H', W') of label maps.
  // Throws pydl::Error for one of another out_shape.
  void Apply(const Records& records, uint64_t seed, uint64_t stream, int64_t first,
             const Shape& out_shape, float* y, float* labels = nullptr) const;
  // The part `cut` of one picture, number `number` of the run, in this thread. y: (C, rows,
  // columns) of the part. Throws pydl::Error where mean or augment do not fit it.
  void ApplyTo(const Record& picture, const kernels::ImageCut& cut, uint64_t seed, uint64_t stream,
               int64_t number, float* y) const;

 private:
  struct Means {
    std::vector<float> of_channels, fill;  // fill: what stands for no picture
  };

  Shape image_shape(const Record& record) const;  // (C, H, W), without labels
  bool varies() const { return train_ && params_.augment.has_value(); }
  Means MeansOf(int64_t channels) const;
  void Write(const Record& record, const kernels::ImageCut& cut, const Means& means, float* y,
             float* labels) const;
  void WriteVaried(const Record& record, const kernels::ImageCut& cut, const Means& means,
                   const PhiloxBlock& key, float* scratch, float* y, float* labels) const;

  TransformParams params_;
  bool train_, label_maps_;
  MeanImage mean_;
};

}  // namespace pydl
