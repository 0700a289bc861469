// Boxes around objects, which all detection layers share: coding relative to priors, overlaps, and
// greedy non-maximum suppression.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/boxes.h"
#include "pydl/fields.h"

namespace pydl {

namespace kernels {
constexpr std::array<EnumName, 3> enum_names(BoxCode) {
  return {{{"CORNER", 1}, {"CENTER_SIZE", 2}, {"CORNER_SIZE", 3}}};
}
}  // namespace kernels
using kernels::BoxCode;

struct Box {
  float x1, y1, x2, y2;
};

inline bool is_finite(const Box& b) {
  const float sum = (b.x1 - b.x1) + (b.y1 - b.y1) + (b.x2 - b.x2) + (b.y2 - b.y2);
  return sum == 0;  // infinity less itself is NaN
}

// 0 for a box whose ends are the wrong way round. extra: added to its sides, as in kernels/boxes.h.
float area(const Box& box, float extra = 0);
// The area that both share over the area that they cover together; 0 where they do not meet.
float overlap(const Box& a, const Box& b, float extra = 0);
// The part of `box` that `other` covers.
float coverage(const Box& box, const Box& other);
// Limited to the image: 0 to 1.
Box clip_to_unit(const Box& box);

using Variances = std::array<float, 4>;

// The four numbers that tell `box` relative to `prior` (kernels/boxes.h), over the variances.
// Throws pydl::Error for kCenterSize where a box has no width or height, or a variance is not
// positive.
std::array<float, 4> encode_box(const Box& box, const Box& prior, const Variances& variances,
                                BoxCode code);

// n boxes as four planes x1, y1, x2, y2, which the kernels work on.
class Boxes {
 public:
  Boxes() = default;
  // rows: (n, 4), `stride` floats apart
  Boxes(int64_t n, const float* rows, int64_t stride = 4);

  int64_t size() const { return size_; }
  Box operator[](int64_t i) const {
    const float* p = planes_.data() + i;
    return {p[0], p[size_], p[2 * size_], p[3 * size_]};
  }
  const float* planes() const { return planes_.data(); }

  // Of these boxes as priors; variances: planes too, or null for 1; codes: (n, 4), `stride` apart.
  Boxes Decode(const float* codes, int64_t stride, const Boxes* variances, BoxCode code) const;
  Boxes Pick(std::span<const int32_t> indices) const;
  // overlaps: (n), the overlap of each with `box`
  void Overlaps(const Box& box, float* overlaps) const;

 private:
  int64_t size_ = 0;
  std::vector<float> planes_;
};

struct NmsOptions {
  float threshold = 0.3f;  // a box that overlaps a better one by more is dropped
  // After each box that is kept the threshold is multiplied by this, as long as it is above 0.5.
  float eta = 1;
  float least_score = -std::numeric_limits<float>::infinity();  // only scores above this count
  int64_t top_k = -1;   // how many of the best take part; -1: all
  int64_t most = -1;    // how many may be kept; -1: all
  bool pixels = false;  // coordinates name pixels, both ends inside: a side is x2 - x1 + 1
};

// The boxes that greedy suppression keeps, best score first; of equal scores the first one. Scores
// that are NaN and boxes that are not finite never count.
std::vector<int32_t> suppress(const Boxes& boxes, std::span<const float> scores,
                              const NmsOptions& options);
// The same among `candidates`: the scores are theirs, the result are some of them.
std::vector<int32_t> suppress(const Boxes& boxes, std::span<const int32_t> candidates,
                              std::span<const float> scores, const NmsOptions& options);

// ---- messages of several layers ----

struct NmsParams {
  float nms_threshold = 0.3f, eta = 1;
  std::optional<int32_t> top_k;

  static auto fields() {
    using P = NmsParams;
    return Fields("nms_param",
                  Field("nms_threshold", &P::nms_threshold,
                        "a box that overlaps a better one by more is dropped"),
                  Field("top_k", &P::top_k, "how many of the best take part"),
                  Field("eta", &P::eta, "factor on a threshold above 0.5 for each box kept"));
  }
};

// Throws pydl::Error for a threshold or eta that makes no sense.
NmsOptions nms_options(const NmsParams& params);

}  // namespace pydl
