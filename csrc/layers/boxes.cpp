#include "layers/boxes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"

namespace pydl {

float area(const Box& b, float extra) {
  const float width = b.x2 - b.x1, height = b.y2 - b.y1;
  return width < 0 || height < 0 ? 0 : (width + extra) * (height + extra);
}

namespace {

float shared_area(const Box& a, const Box& b, float extra) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1) + extra;
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1) + extra;
  return width > 0 && height > 0 ? width * height : 0;
}

}  // namespace

float overlap(const Box& a, const Box& b, float extra) {
  const float shared = shared_area(a, b, extra);
  return shared > 0 ? shared / (area(a, extra) + area(b, extra) - shared) : 0;
}

float coverage(const Box& box, const Box& other) {
  const float shared = shared_area(box, other, 0);
  return shared > 0 ? shared / area(box) : 0;
}

Box clip_to_unit(const Box& b) {
  const auto clip = [](float x) { return std::clamp(x, 0.0f, 1.0f); };
  return {clip(b.x1), clip(b.y1), clip(b.x2), clip(b.y2)};
}

std::array<float, 4> encode_box(const Box& box, const Box& prior, const Variances& variances,
                                BoxCode code) {
  std::array<float, 4> t{box.x1 - prior.x1, box.y1 - prior.y1, box.x2 - prior.x2,
                         box.y2 - prior.y2};
  if (code != BoxCode::kCorner) {
    const float size[2] = {prior.x2 - prior.x1, prior.y2 - prior.y1};
    if (code == BoxCode::kCenterSize) {
      const float own[2] = {box.x2 - box.x1, box.y2 - box.y1};
      check(own[0] > 0 && own[1] > 0 && size[0] > 0 && size[1] > 0,
            "a box or prior without width or height cannot be told by centre and size");
      t[0] = (box.x1 + box.x2) / 2 - (prior.x1 + prior.x2) / 2;
      t[1] = (box.y1 + box.y2) / 2 - (prior.y1 + prior.y2) / 2;
      for (int axis : {0, 1}) t[2 + axis] = std::log(own[axis] / size[axis]);
    }
    const int divided = code == BoxCode::kCenterSize ? 2 : 4;
    for (int k = 0; k < divided; ++k) t[k] /= size[k % 2];
  }
  for (int k = 0; k < 4; ++k) {
    check(variances[k] > 0, "a prior has the variance ", variances[k], "; it must be positive");
    t[k] /= variances[k];
  }
  return t;
}

Boxes::Boxes(int64_t n, const float* rows, int64_t stride) : size_(n), planes_(4 * n) {
  kernels::box_kernels().separate(n, rows, stride, planes_.data());
}

Boxes Boxes::Decode(const float* codes, int64_t stride, const Boxes* variances,
                    BoxCode code) const {
  Boxes out(size_, codes, stride);
  kernels::box_kernels().decode(size_, code, planes(), variances ? variances->planes() : nullptr,
                                out.planes(), out.planes_.data());
  return out;
}

Boxes Boxes::Pick(std::span<const int32_t> indices) const {
  Boxes out;
  out.size_ = static_cast<int64_t>(indices.size());
  out.planes_.resize(4 * indices.size());
  float* to = out.planes_.data();
  for (int k = 0; k < 4; ++k) {
    const float* plane = planes() + k * size_;
    for (int32_t i : indices) *to++ = plane[i];
  }
  return out;
}

void Boxes::Overlaps(const Box& box, float* overlaps) const {
  std::fill(overlaps, overlaps + size_, 0.0f);
  kernels::box_kernels().raise_overlaps(size_, &box.x1, planes(), size_, 0, overlaps);
}

namespace {

struct Scored {
  float score;
  int32_t place, box;

  bool operator<(const Scored& other) const {  // is before: better, or as good and earlier
    return score > other.score || (score == other.score && place < other.place);
  }
};

// The best of the candidates, in falling order, the first of equal ones first.
std::vector<int32_t> best_first(const Boxes& boxes, std::span<const int32_t> candidates,
                                std::span<const float> scores, const NmsOptions& options) {
  std::vector<Scored> order;
  order.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!(scores[i] > options.least_score) || !is_finite(boxes[candidates[i]])) continue;
    order.push_back({scores[i], static_cast<int32_t>(i), candidates[i]});
  }
  const auto count = static_cast<int64_t>(order.size());
  if (options.top_k >= 0 && options.top_k < count) {
    std::nth_element(order.begin(), order.begin() + options.top_k, order.end());
    order.resize(options.top_k);
  }
  std::sort(order.begin(), order.end());
  std::vector<int32_t> best;
  best.reserve(order.size());
  for (const Scored& s : order) best.push_back(s.box);
  return best;
}

}  // namespace

std::vector<int32_t> suppress(const Boxes& boxes, std::span<const int32_t> candidates,
                              std::span<const float> scores, const NmsOptions& options) {
  std::vector<int32_t> left = best_first(boxes, candidates, scores, options);
  Boxes ordered = boxes.Pick(left);
  std::vector<float> most(left.size(), 0.0f);  // the largest overlap with one that was kept
  std::vector<int32_t> kept;
  float threshold = options.threshold;
  const int64_t limit = options.most < 0 ? std::numeric_limits<int64_t>::max() : options.most;
  int64_t since = 0;
  for (int64_t i = 0; i < ordered.size() && static_cast<int64_t>(kept.size()) < limit; ++i) {
    if (most[i] > threshold) continue;
    kept.push_back(left[i]);
    const int64_t rest = ordered.size() - i - 1;
    const Box box = ordered[i];
    kernels::box_kernels().raise_overlaps(rest, &box.x1, ordered.planes() + i + 1, ordered.size(),
                                          options.pixels ? 1.0f : 0.0f, most.data() + i + 1);
    if (options.eta < 1 && threshold > 0.5f) threshold *= options.eta;
    // Those that are out already need not be looked at again.
    constexpr int64_t kRounds = 16, kWorth = 256;
    if (++since < kRounds || rest < kWorth) continue;
    since = 0;
    std::vector<int32_t> in;
    for (int64_t j = i + 1; j < ordered.size(); ++j) {
      if (most[j] <= threshold) in.push_back(static_cast<int32_t>(j));
    }
    if (static_cast<int64_t>(in.size()) > rest / 2) continue;
    ordered = ordered.Pick(in);
    for (size_t j = 0; j < in.size(); ++j) {
      left[j] = left[in[j]];
      most[j] = most[in[j]];
    }
    i = -1;
  }
  return kept;
}

std::vector<int32_t> suppress(const Boxes& boxes, std::span<const float> scores,
                              const NmsOptions& options) {
  std::vector<int32_t> all(boxes.size());
  std::iota(all.begin(), all.end(), 0);
  return suppress(boxes, all, scores, options);
}

NmsOptions nms_options(const NmsParams& p) {
  check(p.nms_threshold >= 0, "nms_threshold must not be negative, got ", p.nms_threshold);
  check(p.eta > 0 && p.eta <= 1, "eta must be above 0 and at most 1, got ", p.eta);
  NmsOptions options;
  options.threshold = p.nms_threshold;
  options.eta = p.eta;
  options.top_k = p.top_k.value_or(-1);
  return options;
}

}  // namespace pydl
