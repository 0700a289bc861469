#include "layers/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/check.h"
#include "kernels/eltwise.h"
#include "kernels/scratch.h"
#include "kernels/stochastic.h"

namespace pydl {

namespace {

constexpr float kMostBlur = 20;  // pixels
constexpr int64_t kMostRadius = static_cast<int64_t>(3 * kMostBlur);

double radians(float degrees) { return degrees * std::numbers::pi / 180; }

void check_range(const char* field, float value, float low, float high, const char* unit = "") {
  check(value >= low && value <= high, "transform_param.augment.", field, " must be from ", low,
        " to ", high, unit, ", got ", value);
}

// Draws of a fixed number each, whether they are used or not.
class Draws {
 public:
  Draws(const PhiloxBlock& key, float probability)
      : random_(uint64_t{key[0]} << 32 | key[1], uint64_t{key[2]} << 32 | key[3]),
        probability_(probability) {}

  bool happens() { return random_.uniform() < probability_; }
  float between(float low, float high) { return low + (high - low) * random_.uniform(); }
  // By chance between low and high, else `otherwise`.
  float perhaps(float low, float high, float otherwise) {
    const bool yes = happens();
    const float value = between(low, high);
    return yes ? value : otherwise;
  }

 private:
  Random random_;
  float probability_;
};

}  // namespace

void check_params(const AugmentParams& p) {
  constexpr float kInfinity = std::numeric_limits<float>::max();
  check_range("rotation", p.rotation, 0, 180, " degrees");
  check_range("shear", p.shear, 0, 80, " degrees");
  check_range("scale_min", p.scale_min, 0.01f, 100);
  check_range("scale_max", p.scale_max, 0.01f, 100);
  check(p.scale_min <= p.scale_max, "transform_param.augment.scale_min ", p.scale_min,
        " is larger than scale_max ", p.scale_max);
  check_range("aspect", p.aspect, 1, 10);
  check_range("translation", p.translation, 0, 1);
  check_range("brightness", p.brightness, 0, 1);
  check_range("contrast", p.contrast, 0, 1);
  check_range("saturation", p.saturation, 0, 1);
  check_range("hue", p.hue, 0, 180, " degrees");
  check_range("blur", p.blur, 0, kMostBlur, " pixels");
  check_range("noise", p.noise, 0, kInfinity);
  check_range("cutout", p.cutout, 0, 1);
  check_range("probability", p.probability, 0, 1);
}

void check_picture(const AugmentParams& p, const Shape& picture) {
  const int64_t channels = picture[0];
  check(picture[1] + 2 <= std::numeric_limits<int32_t>::max() / (picture[2] + 2),
        "transform_param.augment: pictures must have fewer than 2^31 pixels, this has ", picture[1],
        " x ", picture[2]);
  check((p.saturation == 0 && p.hue == 0) || channels == 3, "transform_param.augment.",
        p.saturation > 0 ? "saturation" : "hue", " is for pictures of 3 channels, these have ",
        channels, "; brightness and contrast are for any");
  const auto given = static_cast<int64_t>(p.fill.size());
  check(given <= 1 || given == channels, "transform_param.augment.fill is given ", given,
        " times for ", channels, " channels; give it once or once per channel");
}

bool is_geometric(const AugmentParams& p) {
  return p.rotation > 0 || p.shear > 0 || p.scale_min != 1 || p.scale_max != 1 || p.aspect != 1 ||
         p.translation > 0 || p.flip_vertical;
}

Augmentation::Augmentation(const AugmentParams& p, const PhiloxBlock& key) : params_(p) {
  Draws draws(key, p.probability);
  const double angle = radians(draws.perhaps(-p.rotation, p.rotation, 0));
  const double lean = std::tan(radians(draws.perhaps(-p.shear, p.shear, 0)));
  const double scale = draws.perhaps(p.scale_min, p.scale_max, 1);
  const float widest = std::log(p.aspect);
  const double stretch = std::exp(draws.perhaps(-widest, widest, 0) / 2);
  const float shift = draws.happens() ? p.translation : 0;
  shift_x_ = draws.between(-shift, shift);
  shift_y_ = draws.between(-shift, shift);
  const bool flips = draws.between(0, 1) < 0.5f && p.flip_vertical;
  brightness_ = draws.perhaps(1 - p.brightness, 1 + p.brightness, 1);
  contrast_ = draws.perhaps(1 - p.contrast, 1 + p.contrast, 1);
  saturation_ = draws.perhaps(1 - p.saturation, 1 + p.saturation, 1);
  hue_ = draws.perhaps(-p.hue, p.hue, 0);
  blur_ = draws.perhaps(0, p.blur, 0);
  noise_ = draws.perhaps(0, p.noise, 0);
  has_hole_ = draws.happens() && p.cutout > 0;
  hole_x_ = draws.between(0, 1);
  hole_y_ = draws.between(0, 1);
  noise_seed_ = uint64_t{key[0]} << 32 | key[1];
  noise_stream_ = (uint64_t{key[2]} << 32 | key[3]) + 1;

  // The picture is scaled, leant and then turned; this is the way back.
  const double width = scale * stretch, height = scale / stretch * (flips ? -1 : 1);
  const double cosine = std::cos(angle), sine = std::sin(angle);
  back_[0] = (cosine + lean * sine) / width;
  back_[1] = (sine - lean * cosine) / width;
  back_[2] = -sine / height;
  back_[3] = cosine / height;
  moves_ = back_[0] != 1 || back_[1] != 0 || back_[2] != 0 || back_[3] != 1 || shift_x_ != 0 ||
           shift_y_ != 0;
}

int64_t Augmentation::scratch_size(const Shape& picture, const Shape& part) {
  const int64_t padded = picture[0] * (picture[1] + 2) * (picture[2] + 2);
  return kernels::aligned_size(
      std::max(padded, kernels::blur_scratch(part[1], part[2], kMostRadius)));
}

void Augmentation::Apply(const Record& record, const kernels::ImageCut& cut,
                         const std::vector<float>& fill, float* scratch, float* y) const {
  Move(record, 0, cut, fill.data(), false, scratch, y);
  Blur(cut, scratch, y);
  MixColours(cut, record.bytes != nullptr, y);
  const int64_t values = cut.channels * cut.rows * cut.columns;
  if (noise_ > 0) {
    kernels::stochastic_kernels().add_gaussian(values, y, noise_, noise_seed_, noise_stream_, y);
  }
  CutHole(cut, fill, y);
}

void Augmentation::ApplyToLabels(const Record& record, const kernels::ImageCut& cut, float* scratch,
                                 float* y) const {
  kernels::ImageCut map = cut;
  map.channels = 1;
  Move(record, cut.channels, map, &params_.label_fill, true, scratch, y);
}

void Augmentation::Move(const Record& record, int64_t first_channel, const kernels::ImageCut& cut,
                        const float* fill, bool nearest, float* scratch, float* y) const {
  const kernels::ImageKernels& image = kernels::image_kernels();
  const int64_t first = first_channel * cut.height * cut.width;
  if (moves_) {
    const kernels::ImageWarp warp = Warp(cut, nearest);
    record.bytes ? image.pad_bytes(warp, record.bytes + first, fill, scratch)
                 : image.pad_floats(warp, record.floats + first, fill, scratch);
    return image.warp(warp, scratch, y);
  }
  std::fill_n(scratch, cut.channels, 0.0f);  // no mean
  record.bytes ? image.bytes(cut, record.bytes + first, nullptr, scratch, 1, y)
               : image.floats(cut, record.floats + first, nullptr, scratch, 1, y);
}

kernels::ImageWarp Augmentation::Warp(const kernels::ImageCut& cut, bool nearest) const {
  const auto width = static_cast<double>(cut.width), height = static_cast<double>(cut.height);
  // The window's first pixel, from the middle of the moved picture.
  const auto left = static_cast<double>(cut.left + (cut.flip ? cut.columns - 1 : 0));
  const double x = left - (width - 1) / 2 - shift_x_ * width;
  const double y = static_cast<double>(cut.top) - (height - 1) / 2 - shift_y_ * height;
  const double along = cut.flip ? -1 : 1;
  const std::array<double, 6> matrix{
      back_[0] * along, back_[1], back_[0] * x + back_[1] * y + (width - 1) / 2,
      back_[2] * along, back_[3], back_[2] * x + back_[3] * y + (height - 1) / 2};
  kernels::ImageWarp warp{.channels = cut.channels,
                          .height = cut.height,
                          .width = cut.width,
                          .rows = cut.rows,
                          .columns = cut.columns,
                          .matrix = {},
                          .border = static_cast<kernels::ImageBorder>(params_.border),
                          .nearest = nearest};
  std::copy(matrix.begin(), matrix.end(), warp.matrix.begin());
  return warp;
}

void Augmentation::Blur(const kernels::ImageCut& cut, float* scratch, float* y) const {
  if (!(blur_ > 0)) return;
  const auto radius = static_cast<int64_t>(std::ceil(3 * blur_));
  std::array<float, 2 * kMostRadius + 1> weights;
  double sum = 0;
  const auto weight = [&](int64_t k) {
    const double distance = static_cast<double>(k) / blur_;
    return std::exp(-distance * distance / 2);
  };
  for (int64_t k = -radius; k <= radius; ++k) sum += weight(k);
  for (int64_t k = -radius; k <= radius; ++k) {
    weights[k + radius] = static_cast<float>(weight(k) / sum);
  }
  kernels::image_kernels().blur(cut.channels, cut.rows, cut.columns, radius, weights.data(),
                                scratch, y);
}

// All four are one affine map of the pixels' channels. Hues turn the cube of colours round its grey
// diagonal (Haeberli 1993, "Matrix operations for image processing").
void Augmentation::MixColours(const kernels::ImageCut& cut, bool of_bytes, float* y) const {
  if (brightness_ == 1 && contrast_ == 1 && saturation_ == 1 && hue_ == 0) return;
  const int64_t channels = cut.channels, pixels = cut.rows * cut.columns;
  // Of blue, green and red (ITU-R BT.601); else all weigh the same.
  constexpr double kGrey[] = {0.114, 0.587, 0.299};
  double mean = 0;
  for (int64_t c = 0; contrast_ != 1 && c < channels; ++c) {
    const double weight = channels == 3 ? kGrey[c] : 1 / static_cast<double>(channels);
    mean += weight * kernels::eltwise_kernels().sum(pixels, y + c * pixels);
  }
  mean *= brightness_ / static_cast<double>(pixels);
  const double factor = static_cast<double>(brightness_) * contrast_;
  const auto offset = static_cast<float>((1 - static_cast<double>(contrast_)) * mean);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float low = of_bytes ? 0 : -kInfinity, high = of_bytes ? 255 : kInfinity;
  const auto mix = kernels::image_kernels().mix;
  if (channels != 3) {
    const float matrix[] = {static_cast<float>(factor), offset};
    for (int64_t c = 0; c < channels; ++c) mix(1, pixels, matrix, low, high, y + c * pixels);
    return;
  }
  const double turn = std::cos(radians(hue_)), side = std::sin(radians(hue_)) / std::sqrt(3.0);
  const double grey = (1 - turn) / 3, hue[] = {turn + grey, grey + side, grey - side};
  float matrix[3][4];
  for (int c = 0; c < 3; ++c) {
    for (int k = 0; k < 3; ++k) {
      const double m = saturation_ * hue[(k - c + 3) % 3] + (1 - saturation_) * kGrey[k];
      matrix[c][k] = static_cast<float>(factor * m);
    }
    matrix[c][3] = offset;
  }
  mix(3, pixels, matrix[0], low, high, y);
}

// DeVries & Taylor 2017, arXiv:1708.04552: a hole around any pixel, part of it perhaps outside.
void Augmentation::CutHole(const kernels::ImageCut& cut, const std::vector<float>& fill,
                           float* y) const {
  if (!has_hole_) return;
  const auto shorter = static_cast<float>(std::min(cut.rows, cut.columns));
  const auto side = static_cast<int64_t>(std::lround(params_.cutout * shorter));
  const auto range = [side](float at, int64_t size) {
    const int64_t begin = static_cast<int64_t>(at * static_cast<float>(size)) - side / 2;
    return std::pair(std::max<int64_t>(begin, 0), std::min(begin + side, size));
  };
  const auto [top, bottom] = range(hole_y_, cut.rows);
  const auto [left, right] = range(hole_x_, cut.columns);
  for (int64_t c = 0; c < cut.channels; ++c) {
    for (int64_t row = top; row < bottom; ++row) {
      float* line = y + (c * cut.rows + row) * cut.columns;
      std::fill(line + left, line + std::max(left, right), fill[c]);
    }
  }
}

}  // namespace pydl
