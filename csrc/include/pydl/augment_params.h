// transform_param.augment: how the pictures of a data layer are varied at random in TRAIN.
#pragma once

#include <vector>

#include "pydl/fields.h"

namespace pydl {

enum class AugmentBorder { kConstant = 0, kRepeat = 1, kReflect = 2 };
constexpr std::array<EnumName, 3> enum_names(AugmentBorder) {
  return {{{"CONSTANT", 0}, {"REPEAT", 1}, {"REFLECT", 2}}};
}

struct AugmentParams {
  float rotation = 0, shear = 0, scale_min = 1, scale_max = 1, aspect = 1, translation = 0;
  bool flip_vertical = false;
  AugmentBorder border = AugmentBorder::kConstant;
  float brightness = 0, contrast = 0, saturation = 0, hue = 0;
  float blur = 0, noise = 0, cutout = 0, probability = 1;
  std::vector<float> fill;
  float label_fill = 255;

  static auto fields() {
    using P = AugmentParams;
    return Fields(
        "augment", Field("rotation", &P::rotation, "degrees, at most, either way"),
        Field("shear", &P::shear, "degrees that columns lean, at most, either way"),
        Field("scale_min", &P::scale_min, "least factor on the size of what is seen"),
        Field("scale_max", &P::scale_max, "largest factor on the size of what is seen"),
        Field("aspect", &P::aspect, "largest factor on width / height, and on height / width"),
        Field("translation", &P::translation, "at most, either way, in widths and heights"),
        Field("flip_vertical", &P::flip_vertical, "flip top to bottom, every second picture"),
        Field("border", &P::border,
              "what is around a picture: CONSTANT, of fill; REPEAT, its "
              "outermost pixels; REFLECT, its mirror image"),
        Field("brightness", &P::brightness, "values times 1 - brightness to 1 + brightness"),
        Field("contrast", &P::contrast,
              "distances from the picture's mean grey times 1 - contrast to 1 + contrast"),
        Field("saturation", &P::saturation,
              "distances from each pixel's grey times 1 - saturation to 1 + saturation"),
        Field("hue", &P::hue, "degrees on the circle of colours, at most, either way"),
        Field("blur", &P::blur, "largest deviation of a Gaussian blur, in pixels"),
        Field("noise", &P::noise, "largest deviation of Gaussian noise, in units of the records"),
        Field("cutout", &P::cutout, "side of a square of fill, in shorter sides of what is seen"),
        Field("probability", &P::probability, "of each of these, flip_vertical aside"),
        Field("fill", &P::fill, "one, or one per channel; not given: the mean that is subtracted"),
        Field("label_fill", &P::label_fill, "CONSTANT: the label around a map of labels"));
  }
};

}  // namespace pydl
