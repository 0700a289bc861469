#include "layers/window_geometry.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pydl {

namespace {

// One axis of a window: its ends in the image, and the pixels of the square before, in and after.
struct Side {
  int32_t first, last, before, size, after;
};

int32_t nearest(float x) { return static_cast<int32_t>(std::round(x)); }

// The window from center - reach to center + reach, cut to [0, limit).
Side cut_side(float center, float reach, int32_t limit, int32_t crop) {
  const int32_t first = nearest(center - reach), last = nearest(center + reach);
  const int32_t before = std::max(0, -first), after = std::max(0, last - limit + 1);
  Side side{first + before, last - after, 0, 0, 0};
  const float scale = static_cast<float>(crop) / static_cast<float>(last - first + 1);
  side.size = nearest(static_cast<float>(side.last - side.first + 1) * scale);
  side.before = nearest(static_cast<float>(before) * scale);
  side.after = nearest(static_cast<float>(after) * scale);
  return side;
}

}  // namespace

WindowWarp warp_window(const Window& w, int64_t image_width, int64_t image_height,
                       int32_t crop_size, int32_t context_pad, bool square, bool mirror) {
  const auto image_w = static_cast<int32_t>(image_width);
  const auto image_h = static_cast<int32_t>(image_height);
  WindowWarp warp{w.x1, w.y1, w.x2, w.y2, crop_size, crop_size, 0, 0};
  if (context_pad > 0 || square) {
    const float grow =
        static_cast<float>(crop_size) / static_cast<float>(crop_size - 2 * context_pad);
    float half_w = static_cast<float>(w.x2 - w.x1 + 1) / 2;
    float half_h = static_cast<float>(w.y2 - w.y1 + 1) / 2;
    const float center_x = static_cast<float>(w.x1) + half_w;
    const float center_y = static_cast<float>(w.y1) + half_h;
    if (square) half_w = half_h = std::max(half_w, half_h);
    const Side x = cut_side(center_x, half_w * grow, image_w, crop_size);
    const Side y = cut_side(center_y, half_h * grow, image_h, crop_size);
    warp.x1 = x.first, warp.x2 = x.last, warp.y1 = y.first, warp.y2 = y.last;
    warp.pad_left = mirror ? x.after : x.before;
    warp.pad_top = y.before;
    warp.width = std::clamp(x.size, 0, std::max(0, crop_size - warp.pad_left));
    warp.height = std::clamp(y.size, 0, std::max(0, crop_size - warp.pad_top));
  }
  check(0 <= warp.x1 && warp.x1 <= warp.x2 && warp.x2 < image_w && 0 <= warp.y1 &&
            warp.y1 <= warp.y2 && warp.y2 < image_h,
        "the window from (", w.x1, ", ", w.y1, ") to (", w.x2, ", ", w.y2,
        ") does not lie in the image of ", image_w, " x ", image_h, " pixels");
  return warp;
}

}  // namespace pydl
