#include "layers/box_sampler.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pydl {

namespace {

bool in_range(float x, const std::optional<float>& least, const std::optional<float>& most) {
  return (!least || x >= *least) && (!most || x <= *most);
}

// All that is asked for holds with one of the objects.
bool satisfies(const Box& part, std::span<const Box> objects, const SampleConstraintParams& c) {
  const bool overlaps = c.min_jaccard_overlap || c.max_jaccard_overlap;
  const bool samples = c.min_sample_coverage || c.max_sample_coverage;
  const bool covers = c.min_object_coverage || c.max_object_coverage;
  if (!overlaps && !samples && !covers) return true;
  return std::any_of(objects.begin(), objects.end(), [&](const Box& object) {
    return (!overlaps ||
            in_range(overlap(part, object), c.min_jaccard_overlap, c.max_jaccard_overlap)) &&
           (!samples ||
            in_range(coverage(part, object), c.min_sample_coverage, c.max_sample_coverage)) &&
           (!covers ||
            in_range(coverage(object, part), c.min_object_coverage, c.max_object_coverage));
  });
}

float draw(float low, float high, Random* random) { return low + (high - low) * random->uniform(); }

Box draw_part(const SamplerParams& p, Random* random) {
  const float scale = draw(p.min_scale, p.max_scale, random);
  float ratio = draw(p.min_aspect_ratio, p.max_aspect_ratio, random);
  ratio = std::clamp(ratio, scale * scale, 1 / (scale * scale));  // both sides within the picture
  const float width = std::min(scale * std::sqrt(ratio), 1.0f);
  const float height = std::min(scale / std::sqrt(ratio), 1.0f);
  const float left = draw(0, 1 - width, random), top = draw(0, 1 - height, random);
  return {left, top, left + width, top + height};
}

}  // namespace

void check_params(const BatchSamplerParams& params) {
  const SamplerParams& p = params.sampler;
  check(p.min_scale > 0 && p.min_scale <= p.max_scale && p.max_scale <= 1, "sampler: min_scale ",
        p.min_scale, " and max_scale ", p.max_scale, ": 0 < min_scale <= max_scale <= 1 is needed");
  check(p.min_aspect_ratio > 0 && p.min_aspect_ratio <= p.max_aspect_ratio &&
            std::isfinite(p.max_aspect_ratio),
        "sampler: min_aspect_ratio ", p.min_aspect_ratio, " and max_aspect_ratio ",
        p.max_aspect_ratio, ": 0 < min_aspect_ratio <= max_aspect_ratio is needed");
}

std::optional<Box> sample_part(const std::vector<BatchSamplerParams>& samplers,
                               std::span<const Box> objects, Random* random) {
  std::vector<Box> found;
  for (const BatchSamplerParams& sampler : samplers) {
    if (!sampler.use_original_image) continue;
    uint32_t count = 0;
    for (uint32_t trial = 0; trial < sampler.max_trials; ++trial) {
      if (sampler.max_sample && count >= *sampler.max_sample) break;
      const Box part = draw_part(sampler.sampler, random);
      if (!satisfies(part, objects, sampler.sample_constraint)) continue;
      found.push_back(part);
      ++count;
    }
  }
  if (found.empty()) return std::nullopt;
  return found[random->below(static_cast<int64_t>(found.size()))];
}

}  // namespace pydl
