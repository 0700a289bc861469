// ImageData: batches of image files that a list names.

#include "layers/image_list_layer.h"

namespace pydl {

struct ImageDataNames {
  static constexpr const char* kType = "ImageData";
  static constexpr const char* kParam = "image_data_param";
  static constexpr const char* kSource = "a text file with an image and its label on each line";
  static constexpr bool kLabelImages = false;
};

// tops: data (batch_size, 3 or 1, H, W), label (batch_size)
class ImageData final : public ImageListLayer<ImageDataNames> {};

PYDL_REGISTER_LAYER("ImageData", ImageData, "Batches of image files that a list names.");

}  // namespace pydl
