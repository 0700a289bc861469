// DenseImageData: batches of images and images of their pixels' labels, which a list names
// (SegNet).

#include "layers/image_list_layer.h"

namespace pydl {

struct DenseImageDataNames {
  static constexpr const char* kType = "DenseImageData";
  static constexpr const char* kParam = "dense_image_data_param";
  static constexpr const char* kSource =
      "a text file with an image and its label image on each line";
  static constexpr bool kLabelImages = true;
};

// tops: data (batch_size, 3 or 1, H, W), label (batch_size, 1, H, W)
//
// Mean and scale are for the images alone; both are cut out and mirrored alike (SegNet refuses to
// do that).
class DenseImageData final : public ImageListLayer<DenseImageDataNames> {};

PYDL_REGISTER_LAYER("DenseImageData", DenseImageData,
                    "Batches of images and images of their pixels' labels, which a list names.");

}  // namespace pydl
