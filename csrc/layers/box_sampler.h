// Parts of pictures with boxes, drawn at random so that they hold enough of them (Liu et al. 2016,
// "SSD"): the batch_sampler of an AnnotatedData layer.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/random.h"
#include "layers/boxes.h"

namespace pydl {

struct SamplerParams {
  float min_scale = 1, max_scale = 1, min_aspect_ratio = 1, max_aspect_ratio = 1;

  static auto fields() {
    using P = SamplerParams;
    return Fields("sampler", Field("min_scale", &P::min_scale, "least size, of the picture's"),
                  Field("max_scale", &P::max_scale, "largest size"),
                  Field("min_aspect_ratio", &P::min_aspect_ratio, "least width over height"),
                  Field("max_aspect_ratio", &P::max_aspect_ratio, "largest width over height"));
  }
};

struct SampleConstraintParams {
  std::optional<float> min_jaccard_overlap, max_jaccard_overlap, min_sample_coverage;
  std::optional<float> max_sample_coverage, min_object_coverage, max_object_coverage;

  static auto fields() {
    using P = SampleConstraintParams;
    return Fields(
        "sample_constraint",
        Field("min_jaccard_overlap", &P::min_jaccard_overlap, "least overlap with some box"),
        Field("max_jaccard_overlap", &P::max_jaccard_overlap, "largest overlap with that box"),
        Field("min_sample_coverage", &P::min_sample_coverage, "least part of the sample in a box"),
        Field("max_sample_coverage", &P::max_sample_coverage, "largest part of the sample"),
        Field("min_object_coverage", &P::min_object_coverage, "least part of a box in the sample"),
        Field("max_object_coverage", &P::max_object_coverage, "largest part of a box"));
  }
};

struct BatchSamplerParams {
  bool use_original_image = true;
  SamplerParams sampler;
  SampleConstraintParams sample_constraint;
  std::optional<uint32_t> max_sample;
  uint32_t max_trials = 100;

  static auto fields() {
    using P = BatchSamplerParams;
    return Fields(
        "batch_sampler",
        Field("use_original_image", &P::use_original_image, "false: this sampler does nothing"),
        Field("sampler", &P::sampler, "the sizes that are drawn"),
        Field("sample_constraint", &P::sample_constraint, "what a sample must hold"),
        Field("max_sample", &P::max_sample, "enough samples; all trials' if not given"),
        Field("max_trials", &P::max_trials, "most draws"));
  }
};

// Throws pydl::Error for sizes that make no sense.
void check_params(const BatchSamplerParams& params);

// One of the samples that all samplers give, or nothing if they give none.
std::optional<Box> sample_part(const std::vector<BatchSamplerParams>& samplers,
                               std::span<const Box> objects, Random* random);

}  // namespace pydl
