#include "layers/original_image.h"

#include <fstream>

#include "core/check.h"

namespace pydl {

std::vector<OriginalImage> read_original_images(const std::string& path) {
  std::vector<OriginalImage> images;
  std::ifstream file(path);
  check(file.good(), path, ": cannot be read");
  std::string name;
  float height, width;
  while (file >> name) {
    check(file >> height >> width && height > 0 && width > 0, path, ": image \"", name,
          "\" needs a height and a width behind its name");
    images.push_back({name, width, height});
  }
  check(!images.empty(), path, ": names no images; a line for each: name height width");
  return images;
}

namespace {

// Of a picture with padding around it: in parts of the picture alone.
Box without_padding(const Box& b, const OriginalImage& image, const ResizeParams& resize) {
  const float shape = image.width / image.height;
  const float whole = static_cast<float>(resize.width) / static_cast<float>(resize.height);
  // The part of the square, from (1 - part) / 2 on, that the picture takes.
  const auto unpad = [](float x, float part) { return (x - (1 - part) / 2) / part; };
  const float part_x = shape > whole ? 1 : shape / whole;
  const float part_y = shape > whole ? whole / shape : 1;
  return {unpad(b.x1, part_x), unpad(b.y1, part_y), unpad(b.x2, part_x), unpad(b.y2, part_y)};
}

// Boxes of pictures of any shape are parts of one size, which the net was trained with.
Box of_fixed_scale(const Box& b, const OriginalImage& image, const ResizeParams& resize) {
  const float x = static_cast<float>(resize.width_scale) / image.width;
  const float y = static_cast<float>(resize.height_scale) / image.height;
  return {b.x1 * x, b.y1 * y, b.x2 * x, b.y2 * y};
}

}  // namespace

Box in_original(const Box& box, const OriginalImage& image, const ResizeParams* resize) {
  Box b = box;
  if (resize && resize->height > 0 && resize->width > 0) {
    if (resize->resize_mode == ResizeMode::kFitLargeSizeAndPad) {
      b = without_padding(b, image, *resize);
    } else if (resize->resize_mode == ResizeMode::kFitSmallSize && resize->height_scale > 0 &&
               resize->width_scale > 0) {
      b = of_fixed_scale(b, image, *resize);
    }
  }
  b = clip_to_unit(b);
  return {b.x1 * image.width, b.y1 * image.height, b.x2 * image.width, b.y2 * image.height};
}

}  // namespace pydl
