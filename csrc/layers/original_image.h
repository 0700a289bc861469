// The images that detections are of, as they were before they were made to fit the net (SSD's
// name_size_file).
#pragma once

#include <string>
#include <vector>

#include "layers/boxes.h"
#include "layers/picture_params.h"

namespace pydl {

struct OriginalImage {
  std::string name;
  float width, height;
};

// Of a file with lines `name height width`, in the order of the images. Throws pydl::Error.
std::vector<OriginalImage> read_original_images(const std::string& path);

// A box in parts of what the net saw, in pixels of the image, cut to it. resize: how it was made to
// fit, or null where it was stretched.
Box in_original(const Box& box, const OriginalImage& image, const ResizeParams* resize);

}  // namespace pydl
