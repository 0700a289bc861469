// Which part of an image a window takes, and where it comes to lie in the square it is warped to.
#pragma once

#include "pydl/data.h"

namespace pydl {

struct WindowWarp {
  int32_t x1, y1, x2, y2;     // the part of the image, both ends inside
  int32_t width, height;      // what it is resized to
  int32_t pad_left, pad_top;  // where that begins in the square
};

// As Caffe's WindowDataLayer does it for R-CNN (Girshick et al. 2014, arXiv:1311.2524). With
// context (or `square`) the window grows so that `context_pad` pixels of its surroundings are on
// each side of it after warping, and what lies outside of the image is left out. Throws pydl::Error
// for a window that has no part in the image.
WindowWarp warp_window(const Window& window, int64_t image_width, int64_t image_height,
                       int32_t crop_size, int32_t context_pad, bool square, bool mirror);

}  // namespace pydl
