#include "layers/anchors.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pydl {

std::vector<PixelBox> make_anchors(int32_t base_size, const std::vector<float>& ratios,
                                   const std::vector<float>& scales) {
  const double centre = 0.5 * (base_size - 1), area = static_cast<double>(base_size) * base_size;
  std::vector<PixelBox> anchors;
  for (const float ratio : ratios) {
    // numpy's rounding: halves to even
    const double width = std::nearbyint(std::sqrt(area / ratio));
    const double height = std::nearbyint(width * ratio);
    for (const float scale : scales) {
      const double x = 0.5 * (width * scale - 1), y = 0.5 * (height * scale - 1);
      anchors.push_back({static_cast<float>(centre - x), static_cast<float>(centre - y),
                         static_cast<float>(centre + x), static_cast<float>(centre + y)});
    }
  }
  return anchors;
}

PixelBox moved(const PixelBox& anchor, int64_t x, int64_t y) {
  const auto dx = static_cast<float>(x), dy = static_cast<float>(y);
  return {anchor.x1 + dx, anchor.y1 + dy, anchor.x2 + dx, anchor.y2 + dy};
}

double overlap(const PixelBox& a, const PixelBox& b) {
  const double w = static_cast<double>(std::min(a.x2, b.x2)) - std::max(a.x1, b.x1) + 1;
  const double h = static_cast<double>(std::min(a.y2, b.y2)) - std::max(a.y1, b.y1) + 1;
  if (w <= 0 || h <= 0) return 0;
  return w * h / (a.area() + b.area() - w * h);
}

std::array<float, 4> box_deltas(const PixelBox& from, const PixelBox& to) {
  const double w = from.width(), h = from.height();
  const double dx = to.x1 + 0.5 * to.width() - (from.x1 + 0.5 * w);
  const double dy = to.y1 + 0.5 * to.height() - (from.y1 + 0.5 * h);
  return {static_cast<float>(dx / w), static_cast<float>(dy / h),
          static_cast<float>(std::log(to.width() / w)),
          static_cast<float>(std::log(to.height() / h))};
}

PixelBox apply_deltas(const PixelBox& box, const std::array<float, 4>& deltas) {
  const float w = box.x2 - box.x1 + 1, h = box.y2 - box.y1 + 1;
  const float x = deltas[0] * w + (box.x1 + 0.5f * w), y = deltas[1] * h + (box.y1 + 0.5f * h);
  const float half_w = 0.5f * (std::exp(deltas[2]) * w), half_h = 0.5f * (std::exp(deltas[3]) * h);
  return {x - half_w, y - half_h, x + half_w, y + half_h};
}

PixelBox clipped(const PixelBox& box, float width, float height) {
  const auto cut = [](float x, float limit) { return std::clamp(x, 0.0f, limit - 1); };
  return {cut(box.x1, width), cut(box.y1, height), cut(box.x2, width), cut(box.y2, height)};
}

std::vector<Truth> read_truths(const Blob& blob) {
  check(blob.count() == 0 || (blob.axes() >= 2 && blob.count(1) == 5),
        "ground truth must be rows [x1, y1, x2, y2, label], a bottom (G, 5), got ",
        shape_text(blob.shape()));
  const float* row = blob.data();
  std::vector<Truth> truths;
  for (int64_t i = 0; i < blob.count() / 5; ++i, row += 5) {
    const Truth truth{{row[0], row[1], row[2], row[3]}, row[4]};
    check(std::isfinite(row[0] + row[1] + row[2] + row[3] + row[4]), "ground truth ", i, " is [",
          row[0], ", ", row[1], ", ", row[2], ", ", row[3], ", ", row[4],
          "]: box and label must be finite");
    if (truth.box.width() > 0 && truth.box.height() > 0) truths.push_back(truth);
  }
  return truths;
}

Match best_match(const PixelBox& box, const std::vector<Truth>& truths) {
  Match best;
  for (size_t i = 0; i < truths.size(); ++i) {
    const double found = overlap(box, truths[i].box);
    if (best.truth < 0 || found > best.overlap) best = {static_cast<int64_t>(i), found};
  }
  return best;
}

void check_image_info(const Blob& info, int64_t images) {
  const int64_t rows = info.axes() >= 2 ? info.shape(0) : 1;
  const int64_t numbers = info.axes() >= 2 ? info.count(1) : info.count();
  check((rows == images || rows == 1) && numbers >= 3,
        "im_info must have a row [height, width, scale] for each of ", images,
        images == 1 ? " image" : " images", ", got shape ", shape_text(info.shape()));
}

ImageInfo read_image_info(const Blob& info, int64_t image) {
  const int64_t rows = info.axes() >= 2 ? info.shape(0) : 1;
  const float* row = info.data() + (rows > 1 ? image : 0) * (info.count() / rows);
  check(row[0] >= 1 && row[1] >= 1 && row[2] > 0 && std::isfinite(row[0] + row[1] + row[2]),
        "im_info says that image ", image, " is ", row[0], " high and ", row[1], " wide at scale ",
        row[2], "; an image has at least one pixel");
  return {row[0], row[1], row[2]};
}

std::vector<int64_t> choose(std::vector<int64_t> from, int64_t count, Random* random) {
  const auto size = static_cast<int64_t>(from.size());
  if (count >= size) return from;
  count = std::max<int64_t>(count, 0);
  for (int64_t i = 0; i < count; ++i) std::swap(from[i], from[i + random->below(size - i)]);
  from.resize(count);
  std::sort(from.begin(), from.end());
  return from;
}

}  // namespace pydl
