// How the pictures of data layers are varied at random, so that a net learns what does not matter.
#pragma once

#include <vector>

#include "core/random.h"
#include "kernels/image.h"
#include "pydl/augment_params.h"
#include "pydl/data.h"

namespace pydl {

// Throw pydl::Error for what makes no sense.
void check_params(const AugmentParams& params);
// ... and for what does not fit pictures of that shape, (C, H, W).
void check_picture(const AugmentParams& params, const Shape& picture);

// Fields that move pixels: boxes and labels of pixels would have to follow.
bool is_geometric(const AugmentParams& params);

// What was drawn for one picture. What a field draws does not depend on the other fields.
class Augmentation {
 public:
  // A function of the key, which is the picture's own.
  Augmentation(const AugmentParams& params, const PhiloxBlock& key);

  // Floats of working memory for a part of a picture, of these shapes (C, H, W).
  static int64_t scratch_size(const Shape& picture, const Shape& part);

  // The part `cut` of the record when its picture is turned, leant, scaled, moved and flipped, in
  // one step; then blurred, in other colours, with noise, and with a hole.
  // y: (cut.channels, cut.rows, cut.columns); fill: (cut.channels)
  void Apply(const Record& record, const kernels::ImageCut& cut, const std::vector<float>& fill,
             float* scratch, float* y) const;
  // The labels of its pixels, moved with it. x: (1, cut.height, cut.width) behind the picture
  void ApplyToLabels(const Record& record, const kernels::ImageCut& cut, float* scratch,
                     float* y) const;

 private:
  void Move(const Record& record, int64_t first_channel, const kernels::ImageCut& cut,
            const float* fill, bool nearest, float* scratch, float* y) const;
  kernels::ImageWarp Warp(const kernels::ImageCut& cut, bool nearest) const;
  void Blur(const kernels::ImageCut& cut, float* scratch, float* y) const;
  void MixColours(const kernels::ImageCut& cut, bool of_bytes, float* y) const;
  void CutHole(const kernels::ImageCut& cut, const std::vector<float>& fill, float* y) const;

  const AugmentParams& params_;
  bool moves_ = false;
  double back_[4];                    // from a place on the canvas to one in the picture
  double shift_x_ = 0, shift_y_ = 0;  // in widths and heights
  float blur_, brightness_, contrast_, saturation_, hue_, noise_;
  bool has_hole_;
  float hole_x_, hole_y_;
  uint64_t noise_seed_, noise_stream_;
};

}  // namespace pydl
