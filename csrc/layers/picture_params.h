// What SSD's fork of Caffe adds to transform_param: how pictures are resized and varied.
#pragma once

#include <vector>

#include "core/resize.h"
#include "pydl/fields.h"

namespace pydl {

enum class ResizeMode { kWarp = 1, kFitSmallSize = 2, kFitLargeSizeAndPad = 3 };
constexpr std::array<EnumName, 3> enum_names(ResizeMode) {
  return {{{"WARP", 1}, {"FIT_SMALL_SIZE", 2}, {"FIT_LARGE_SIZE_AND_PAD", 3}}};
}

enum class PadMode { kConstant = 1, kMirrored = 2, kRepeatNearest = 3 };
constexpr std::array<EnumName, 3> enum_names(PadMode) {
  return {{{"CONSTANT", 1}, {"MIRRORED", 2}, {"REPEAT_NEAREST", 3}}};
}

constexpr std::array<EnumName, 5> enum_names(Interpolation) {
  return {{{"LINEAR", 1}, {"AREA", 2}, {"NEAREST", 3}, {"CUBIC", 4}, {"LANCZOS4", 5}}};
}

struct ResizeParams {
  float prob = 1;
  ResizeMode resize_mode = ResizeMode::kWarp;
  uint32_t height = 0, width = 0, height_scale = 0, width_scale = 0;
  PadMode pad_mode = PadMode::kConstant;
  std::vector<float> pad_value;
  std::vector<Interpolation> interp_mode;

  static auto fields() {
    using P = ResizeParams;
    return Fields(
        "resize_param", Field("prob", &P::prob, "read, to no effect, as in SSD"),
        Field("resize_mode", &P::resize_mode,
              "WARP: to height x width; FIT_LARGE_SIZE_AND_PAD: as large as fits, and padded; "
              "FIT_SMALL_SIZE: as small as covers it, for batches of one"),
        Field("height", &P::height, "rows; required"), Field("width", &P::width, "columns"),
        Field("height_scale", &P::height_scale, "FIT_SMALL_SIZE: boxes are parts of this height"),
        Field("width_scale", &P::width_scale, "FIT_SMALL_SIZE: boxes are parts of this width"),
        Field("pad_mode", &P::pad_mode, "what padding is filled with"),
        Field("pad_value", &P::pad_value, "CONSTANT: one, or one per channel"),
        Field("interp_mode", &P::interp_mode, "drawn for each picture; LINEAR"));
  }
};

struct SaltPepperParams {
  float fraction = 0;
  std::vector<float> value;

  static auto fields() {
    using P = SaltPepperParams;
    return Fields("saltpepper_param", Field("fraction", &P::fraction, "of the pixels"),
                  Field("value", &P::value, "of these pixels: one, or one per channel"));
  }
};

struct NoiseParams {
  float prob = 0;
  bool hist_eq = false, inverse = false, decolorize = false, gauss_blur = false;
  bool posterize = false, erode = false, saltpepper = false;
  bool clahe = false, convert_to_hsv = false, convert_to_lab = false;
  float jpeg = -1;
  SaltPepperParams saltpepper_param;

  static auto fields() {
    using P = NoiseParams;
    return Fields(
        "noise_param", Field("prob", &P::prob, "read, to no effect, as in SSD"),
        Field("hist_eq", &P::hist_eq, "spread the brightness evenly"),
        Field("inverse", &P::inverse, "255 less each value"),
        Field("decolorize", &P::decolorize, "gray in all channels"),
        Field("gauss_blur", &P::gauss_blur, "7 x 7, of deviation 1.5"),
        Field("posterize", &P::posterize, "4 levels in each channel"),
        Field("erode", &P::erode, "the least value of a cross of 3 x 3"),
        Field("saltpepper", &P::saltpepper, "pixels at random places"),
        Field("saltpepper_param", &P::saltpepper_param, "of saltpepper"),
        Field("clahe", &P::clahe,
              "spread the brightness evenly in each part, by OpenCV's CLAHE of limit 4"),
        Field("jpeg", &P::jpeg, "quality of a JPEG to compress to; -1: none"),
        Field("convert_to_hsv", &P::convert_to_hsv,
              "hue (0 to 180), saturation and value, by OpenCV"),
        Field("convert_to_lab", &P::convert_to_lab, "CIE Lab, each as a byte, by OpenCV"));
  }
};

struct DistortionParams {
  float brightness_prob = 0, brightness_delta = 0;
  float contrast_prob = 0, contrast_lower = 0, contrast_upper = 0;
  float hue_prob = 0, hue_delta = 0;
  float saturation_prob = 0, saturation_lower = 0, saturation_upper = 0;
  float random_order_prob = 0;

  static auto fields() {
    using P = DistortionParams;
    return Fields(
        "distort_param", Field("brightness_prob", &P::brightness_prob, "of another brightness"),
        Field("brightness_delta", &P::brightness_delta, "at most added to or taken off values"),
        Field("contrast_prob", &P::contrast_prob, "of another contrast"),
        Field("contrast_lower", &P::contrast_lower, "least factor on values"),
        Field("contrast_upper", &P::contrast_upper, "largest factor on values"),
        Field("hue_prob", &P::hue_prob, "of other hues"),
        Field("hue_delta", &P::hue_delta, "at most added to or taken off hues of 0 to 180"),
        Field("saturation_prob", &P::saturation_prob, "of another saturation"),
        Field("saturation_lower", &P::saturation_lower, "least factor on saturations"),
        Field("saturation_upper", &P::saturation_upper, "largest factor on saturations"),
        Field("random_order_prob", &P::random_order_prob, "of another order of the channels"));
  }
};

struct ExpansionParams {
  float prob = 1, max_expand_ratio = 1;

  static auto fields() {
    using P = ExpansionParams;
    return Fields("expand_param", Field("prob", &P::prob, "of a larger canvas"),
                  Field("max_expand_ratio", &P::max_expand_ratio,
                        "largest side of the canvas, in sides of the picture"));
  }
};

enum class EmitType { kCenter = 0, kMinOverlap = 1 };
constexpr std::array<EnumName, 2> enum_names(EmitType) {
  return {{{"CENTER", 0}, {"MIN_OVERLAP", 1}}};
}

struct EmitParams {
  EmitType emit_type = EmitType::kCenter;
  float emit_overlap = 0;

  static auto fields() {
    using P = EmitParams;
    return Fields(
        "emit_constraint",
        Field("emit_type", &P::emit_type,
              "CENTER: boxes whose centre is in the part are kept; "
              "MIN_OVERLAP: those of which enough is"),
        Field("emit_overlap", &P::emit_overlap, "MIN_OVERLAP: more than this part of the box"));
  }
};

}  // namespace pydl
