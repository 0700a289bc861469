#include "layers/picture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"
#include "core/resize.h"

namespace pydl {

Picture::Picture(const Record& r) {
  check(r.shape.size() == 3 && r.bytes != nullptr && shape_count(r.shape) > 0,
        r.name.empty() ? "a record" : r.name, ": a picture of bytes (C, H, W) is needed, got ",
        shape_text(r.shape), r.floats ? " floats" : "");
  channels = r.shape[0], height = r.shape[1], width = r.shape[2];
  bytes.assign(r.bytes, r.bytes + shape_count(r.shape));
}

float draw(float low, float high, Random* random) { return low + (high - low) * random->uniform(); }

namespace {

uint8_t to_byte(float x) { return static_cast<uint8_t>(std::clamp(x, 0.0f, 255.0f) + 0.5f); }

// Each value by a table.
template <class F>
void map_bytes(Picture* picture, const F& f) {
  std::array<uint8_t, 256> table;
  for (int v = 0; v < 256; ++v) table[v] = to_byte(f(static_cast<float>(v)));
  for (uint8_t& byte : picture->bytes) byte = table[byte];
}

// Hue in units of two degrees, 0 to 180, as OpenCV keeps it; saturation and value 0 to 255.
struct Hsv {
  float h, s, v;
};

Hsv to_hsv(float b, float g, float r) {
  const float most = std::max({b, g, r}), range = most - std::min({b, g, r});
  Hsv out{0, most > 0 ? 255 * range / most : 0, most};
  if (range <= 0) return out;
  if (most == r) {
    out.h = 30 * (g - b) / range;
  } else {
    out.h = most == g ? 60 + 30 * (b - r) / range : 120 + 30 * (r - g) / range;
  }
  if (out.h < 0) out.h += 180;
  return out;
}

std::array<float, 3> to_bgr(const Hsv& in) {
  const float sector = in.h / 30, low = in.v * (1 - in.s / 255);
  // The value of a channel whose full sector is at `at`.
  const auto channel = [&](float at) {
    float distance = std::fabs(sector - at);
    distance = std::min(distance, 6 - distance);
    return low + (in.v - low) * std::clamp(2 - distance, 0.0f, 1.0f);
  };
  return {channel(4), channel(2), channel(0)};
}

template <class F>
void map_hsv(Picture* picture, const F& f) {
  const int64_t pixels = picture->height * picture->width;
  uint8_t *b = picture->plane(0), *g = picture->plane(1), *r = picture->plane(2);
  for (int64_t i = 0; i < pixels; ++i) {
    Hsv hsv = to_hsv(b[i], g[i], r[i]);
    f(&hsv);
    const auto bgr = to_bgr(hsv);
    b[i] = to_byte(bgr[0]), g[i] = to_byte(bgr[1]), r[i] = to_byte(bgr[2]);
  }
}

void change_brightness(const DistortionParams& p, Random* random, Picture* picture) {
  if (random->uniform() >= p.brightness_prob) return;
  const float delta = draw(-p.brightness_delta, p.brightness_delta, random);
  map_bytes(picture, [=](float v) { return v + delta; });
}

void change_contrast(const DistortionParams& p, Random* random, Picture* picture) {
  if (random->uniform() >= p.contrast_prob) return;
  const float factor = draw(p.contrast_lower, p.contrast_upper, random);
  map_bytes(picture, [=](float v) { return v * factor; });
}

void change_saturation(const DistortionParams& p, Random* random, Picture* picture) {
  if (random->uniform() >= p.saturation_prob || picture->channels != 3) return;
  const float factor = draw(p.saturation_lower, p.saturation_upper, random);
  map_hsv(picture, [=](Hsv* hsv) { hsv->s = std::clamp(hsv->s * factor, 0.0f, 255.0f); });
}

void change_hue(const DistortionParams& p, Random* random, Picture* picture) {
  if (random->uniform() >= p.hue_prob || picture->channels != 3) return;
  const float delta = draw(-p.hue_delta, p.hue_delta, random);
  map_hsv(picture, [=](Hsv* hsv) { hsv->h = std::fmod(hsv->h + delta + 360, 180.0f); });
}

void change_order(const DistortionParams& p, Random* random, Picture* picture) {
  if (random->uniform() >= p.random_order_prob) return;
  const int64_t pixels = picture->height * picture->width;
  for (int64_t c = picture->channels - 1; c > 0; --c) {
    const int64_t other = random->below(c + 1);
    if (other != c) {
      std::swap_ranges(picture->plane(c), picture->plane(c) + pixels, picture->plane(other));
    }
  }
}

}  // namespace

// The two orders of SSD's fork of Caffe, one as likely as the other.
void distort(const DistortionParams& params, Random* random, Picture* picture) {
  const bool contrast_first = random->uniform() > 0.5f;
  change_brightness(params, random, picture);
  if (contrast_first) change_contrast(params, random, picture);
  change_saturation(params, random, picture);
  change_hue(params, random, picture);
  if (!contrast_first) change_contrast(params, random, picture);
  change_order(params, random, picture);
}

Picture cut(const Picture& picture, int64_t top, int64_t left, int64_t height, int64_t width) {
  Picture out(picture.channels, height, width);
  for (int64_t c = 0; c < picture.channels; ++c) {
    for (int64_t h = 0; h < height; ++h) {
      std::copy_n(picture.plane(c) + (top + h) * picture.width + left, width,
                  out.plane(c) + h * width);
    }
  }
  return out;
}

Picture put_on_canvas(const Picture& picture, int64_t height, int64_t width, int64_t top,
                      int64_t left, const std::vector<float>& values) {
  Picture out(picture.channels, height, width);
  for (int64_t c = 0; c < picture.channels; ++c) {
    std::fill_n(out.plane(c), height * width, to_byte(values[c]));
    for (int64_t h = 0; h < picture.height; ++h) {
      std::copy_n(picture.plane(c) + h * picture.width, picture.width,
                  out.plane(c) + (top + h) * width + left);
    }
  }
  return out;
}

ResizePlan plan_resize(const ResizeParams& p, int64_t height, int64_t width) {
  const int64_t rows = p.height, columns = p.width;
  ResizePlan plan{rows, columns, rows, columns, 0, 0};
  if (p.resize_mode == ResizeMode::kWarp) return plan;
  const double shape = static_cast<double>(width) / static_cast<double>(height);
  const bool is_wide = shape > static_cast<double>(columns) / static_cast<double>(rows);
  const bool pads = p.resize_mode == ResizeMode::kFitLargeSizeAndPad;
  // Padding: the larger side fits. Otherwise the smaller one does.
  if (is_wide == pads) {
    plan.height = std::max<int64_t>(1, static_cast<int64_t>(columns / shape));
  } else {
    plan.width = std::max<int64_t>(1, static_cast<int64_t>(rows * shape));
  }
  if (!pads) {
    plan.canvas_height = plan.height;
    plan.canvas_width = plan.width;
  }
  plan.top = (plan.canvas_height - plan.height) / 2;
  plan.left = (plan.canvas_width - plan.width) / 2;
  return plan;
}

namespace {

// Which pixel of n stands at place i, which may be outside.
int64_t padded_place(int64_t i, int64_t n, PadMode mode) {
  if (mode == PadMode::kMirrored && n > 1) {
    const int64_t period = 2 * n - 2, at = ((i % period) + period) % period;
    return at < n ? at : period - at;
  }
  return std::clamp<int64_t>(i, 0, n - 1);
}

Picture pad(const ResizeParams& p, const Picture& picture, const ResizePlan& plan) {
  if (p.pad_mode == PadMode::kConstant) {
    std::vector<float> values(picture.channels, p.pad_value.empty() ? 0 : p.pad_value[0]);
    if (p.pad_value.size() > 1) {
      check(static_cast<int64_t>(p.pad_value.size()) == picture.channels, "pad_value is given ",
            p.pad_value.size(), " times for ", picture.channels, " channels; once or once each");
      values = p.pad_value;
    }
    return put_on_canvas(picture, plan.canvas_height, plan.canvas_width, plan.top, plan.left,
                         values);
  }
  Picture out(picture.channels, plan.canvas_height, plan.canvas_width);
  for (int64_t c = 0; c < out.channels; ++c) {
    uint8_t* to = out.plane(c);
    for (int64_t h = 0; h < out.height; ++h) {
      const int64_t row = padded_place(h - plan.top, picture.height, p.pad_mode);
      for (int64_t w = 0; w < out.width; ++w) {
        const int64_t column = padded_place(w - plan.left, picture.width, p.pad_mode);
        *to++ = picture.plane(c)[row * picture.width + column];
      }
    }
  }
  return out;
}

}  // namespace

Picture resize_picture(const ResizeParams& p, const Picture& picture, Random* random) {
  const ResizePlan plan = plan_resize(p, picture.height, picture.width);
  const size_t modes = p.interp_mode.size();
  const Interpolation mode = modes == 0 ? Interpolation::kLinear
                                        : p.interp_mode[random->below(static_cast<int64_t>(modes))];
  Picture out(picture.channels, plan.height, plan.width);
  for (int64_t c = 0; c < picture.channels; ++c) {
    resize_bytes(mode, picture.height, picture.width, picture.width, picture.plane(c), plan.height,
                 plan.width, out.plane(c));
  }
  const bool fills = plan.height == plan.canvas_height && plan.width == plan.canvas_width;
  return fills ? out : pad(p, out, plan);
}

namespace {

// As OpenCV weighs them.
float brightness(const Picture& p, int64_t i) {
  return 0.114f * p.plane(0)[i] + 0.587f * p.plane(1)[i] + 0.299f * p.plane(2)[i];
}

void decolorize(Picture* p) {
  if (p->channels != 3) return;
  for (int64_t i = 0; i < p->height * p->width; ++i) {
    const uint8_t gray = to_byte(brightness(*p, i));
    for (int64_t c = 0; c < 3; ++c) p->plane(c)[i] = gray;
  }
}

// y[h, w] = f over (value, weight) of a line of 2 reach + 1 pixels, along rows or columns.
template <class F>
void filter_lines(Picture* p, int64_t reach, bool along_rows, const F& f) {
  const Picture in = *p;
  for (int64_t c = 0; c < p->channels; ++c) {
    for (int64_t h = 0; h < p->height; ++h) {
      for (int64_t w = 0; w < p->width; ++w) {
        p->plane(c)[h * p->width + w] = f(
            [&](int64_t k) {
              const int64_t row =
                  along_rows ? h : padded_place(h + k, in.height, PadMode::kMirrored);
              const int64_t column =
                  along_rows ? padded_place(w + k, in.width, PadMode::kMirrored) : w;
              return in.plane(c)[row * in.width + column];
            },
            reach);
      }
    }
  }
}

void blur(Picture* p) {
  constexpr int64_t kReach = 3;
  constexpr float kDeviation = 1.5f;
  std::array<float, 2 * kReach + 1> weight;
  for (int64_t k = -kReach; k <= kReach; ++k) {
    weight[k + kReach] = std::exp(-static_cast<float>(k * k) / (2 * kDeviation * kDeviation));
  }
  const float total = std::accumulate(weight.begin(), weight.end(), 0.0f);
  for (bool along_rows : {true, false}) {
    filter_lines(p, kReach, along_rows, [&](const auto& at, int64_t reach) {
      float sum = 0;
      for (int64_t k = -reach; k <= reach; ++k) sum += weight[k + reach] * at(k);
      return to_byte(sum / total);
    });
  }
}

// The least value of a pixel and its four neighbours.
void erode(Picture* p) {
  const Picture in = *p;
  for (bool along_rows : {true, false}) {
    Picture lines = in;
    filter_lines(&lines, 1, along_rows,
                 [](const auto& at, int64_t) { return std::min({at(-1), at(0), at(1)}); });
    for (size_t i = 0; i < p->bytes.size(); ++i)
      p->bytes[i] = std::min(p->bytes[i], lines.bytes[i]);
  }
}

// The brightness is spread evenly, the colours stay: differences from it are kept.
void equalize(Picture* p) {
  const int64_t pixels = p->height * p->width;
  const bool is_color = p->channels == 3;
  std::vector<uint8_t> gray(pixels);
  for (int64_t i = 0; i < pixels; ++i) {
    gray[i] = is_color ? to_byte(brightness(*p, i)) : p->plane(0)[i];
  }
  std::array<int64_t, 256> count{};
  for (uint8_t v : gray) ++count[v];
  const int64_t first = *std::find_if(count.begin(), count.end(), [](int64_t n) { return n > 0; });
  if (first == pixels) return;
  std::array<float, 256> level;
  int64_t below = 0;
  for (int v = 0; v < 256; ++v) {
    below += count[v];
    level[v] = 255.0f * static_cast<float>(std::max<int64_t>(0, below - first)) /
               static_cast<float>(pixels - first);
  }
  for (int64_t c = 0; c < p->channels; ++c) {
    for (int64_t i = 0; i < pixels; ++i) {
      const float shift = level[gray[i]] - gray[i];
      p->plane(c)[i] = to_byte(p->plane(c)[i] + shift);
    }
  }
}

void add_salt_and_pepper(const SaltPepperParams& params, Random* random, Picture* p) {
  const int64_t pixels = p->height * p->width;
  const auto count = static_cast<int64_t>(params.fraction * static_cast<float>(pixels));
  for (int64_t k = 0; k < count; ++k) {
    const int64_t at = random->below(pixels);
    for (int64_t c = 0; c < p->channels; ++c) {
      p->plane(c)[at] = to_byte(params.value[params.value.size() > 1 ? c : 0]);
    }
  }
}

// By a library that the program has.
void change(const char* what, int quality, Picture* picture) {
  check(data_hooks().change_picture != nullptr, "noise_param: nothing can do ", what,
        "; a C++ program calls set_data_hooks (pydl/data.h) first");
  data_hooks().change_picture(what, quality, {picture->channels, picture->height, picture->width},
                              picture->bytes.data());
}

}  // namespace

void add_noise(const NoiseParams& params, Random* random, Picture* picture) {
  if (params.decolorize) decolorize(picture);
  if (params.gauss_blur) blur(picture);
  if (params.hist_eq) equalize(picture);
  if (params.clahe) change("clahe", 0, picture);
  if (params.jpeg > 0) change("jpeg", static_cast<int>(params.jpeg), picture);
  if (params.erode) erode(picture);
  if (params.posterize) map_bytes(picture, [](float v) { return std::floor(v / 64) * 64 + 32; });
  if (params.inverse) map_bytes(picture, [](float v) { return 255 - v; });
  if (params.saltpepper) {
    const size_t values = params.saltpepper_param.value.size();
    check(values == 1 || static_cast<int64_t>(values) == picture->channels,
          "saltpepper_param.value is given ", values, " times for ", picture->channels,
          " channels; once or once each");
    add_salt_and_pepper(params.saltpepper_param, random, picture);
  }
  if (params.convert_to_hsv) change("hsv", 0, picture);
  if (params.convert_to_lab) change("lab", 0, picture);
}

namespace {

void check_range(const char* name, float low, float high) {
  check(low >= 0 && low <= high, "distort_param.", name, "_lower ", low, " and ", name, "_upper ",
        high, ": 0 <= lower <= upper is needed");
}

void check_probability(const char* name, float p) {
  check(p >= 0 && p <= 1, name, " must be from 0 to 1, got ", p);
}

}  // namespace

void check_params(const DistortionParams& p) {
  check_probability("brightness_prob", p.brightness_prob);
  check_probability("contrast_prob", p.contrast_prob);
  check_probability("hue_prob", p.hue_prob);
  check_probability("saturation_prob", p.saturation_prob);
  check_probability("random_order_prob", p.random_order_prob);
  check(p.brightness_delta >= 0 && p.brightness_delta <= 255,
        "brightness_delta must be from 0 to 255, got ", p.brightness_delta);
  check(p.hue_delta >= 0 && p.hue_delta <= 180, "hue_delta must be from 0 to 180, got ",
        p.hue_delta);
  check_range("contrast", p.contrast_lower, p.contrast_upper);
  check_range("saturation", p.saturation_lower, p.saturation_upper);
}

void check_params(const ExpansionParams& p) {
  check_probability("expand_param.prob", p.prob);
  check(p.max_expand_ratio >= 1 && p.max_expand_ratio <= 100,
        "max_expand_ratio must be from 1 to 100, got ", p.max_expand_ratio);
}

void check_params(const ResizeParams& p) {
  check(p.height > 0 && p.width > 0, "resize_param: height and width must be given and positive, ",
        "got ", p.height, " and ", p.width);
  check((p.height_scale > 0) == (p.width_scale > 0),
        "resize_param: give both of height_scale and width_scale, or neither");
}

void check_params(const NoiseParams& p) {
  check(p.jpeg <= 100, "noise_param.jpeg is a quality of at most 100, got ", p.jpeg);
  check(p.saltpepper_param.fraction >= 0 && p.saltpepper_param.fraction <= 1,
        "saltpepper_param.fraction must be from 0 to 1, got ", p.saltpepper_param.fraction);
}

}  // namespace pydl
