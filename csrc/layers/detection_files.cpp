#include "layers/detection_files.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "core/check.h"
#include "core/file.h"
#include "layers/source_hook.h"
#include "pydl/data.h"
#include "pydl/value.h"

namespace pydl {

namespace {

constexpr const char* kFormats[] = {"VOC", "COCO", "ILSVRC"};
constexpr int64_t kEveryLabel = -1;

float hundredths(float x) { return static_cast<float>(std::round(x * 100) / 100.0); }

std::string text_of(float x) {
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%g", static_cast<double>(x));
  return buffer.data();
}

// A number where the text is one, as SSD writes names of images and classes.
Value number_or_text(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 19 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? Value(static_cast<int64_t>(std::stoll(text))) : Value(text);
}

// The shortest decimal number that is this float.
Value exact(float x) {
  std::array<char, 32> buffer;
  for (int digits = 6; digits <= 9; ++digits) {
    std::snprintf(buffer.data(), buffer.size(), "%.*g", digits, static_cast<double>(x));
    if (std::strtof(buffer.data(), nullptr) == x) break;
  }
  return Value(std::strtod(buffer.data(), nullptr));
}

}  // namespace

DetectionFiles::DetectionFiles(const SaveOutputParams& params, int64_t classes, int64_t background)
    : params_(params), classes_(classes), background_(background) {
  const std::string& format = params.output_format;
  check(std::find(std::begin(kFormats), std::end(kFormats), format) != std::end(kFormats),
        "save_output_param.output_format must be VOC, COCO or ILSVRC, got \"", format, "\"");
  names_ =
      checked_hook(data_hooks().read_label_names, params.label_map_file)(params.label_map_file);
  for (int64_t c = 0; c < classes_; ++c) {
    check(c == background_ || names_.count(static_cast<int32_t>(c)) > 0, params.label_map_file,
          ": no item has the label ", c, "; num_classes is ", classes_);
  }
  images_ = read_original_images(params.name_size_file);
  pass_ = params.num_test_image > 0 ? params.num_test_image : images_.size();
  check(pass_ <= images_.size(), "num_test_image is ", pass_, ", but ", params.name_size_file,
        " names ", images_.size(), " images");
  std::error_code problem;
  std::filesystem::create_directories(params.output_directory, problem);
  check(!problem, "output_directory \"", params.output_directory,
        "\" cannot be made: ", problem.message());
}

void DetectionFiles::Add(std::span<const DetectionRow> rows) {
  const OriginalImage& image = images_[done_];
  const ResizeParams* resize = params_.resize_param ? &*params_.resize_param : nullptr;
  for (const DetectionRow& r : rows) {
    const Box box = in_original({r[3], r[4], r[5], r[6]}, image, resize);
    found_.push_back({&image, static_cast<int64_t>(r[1]), r[2], hundredths(box.x1),
                      hundredths(box.y1), hundredths(box.x2 - box.x1),
                      hundredths(box.y2 - box.y1)});
  }
  if (++done_ < pass_) return;
  Write();
  done_ = 0;
  found_.clear();
}

void DetectionFiles::Write() const {
  if (params_.output_format == "COCO") return WriteJson();
  if (params_.output_format == "ILSVRC") return WriteLines("", kEveryLabel);
  for (int64_t c = 0; c < classes_; ++c) {
    if (c != background_) WriteLines(names_.at(static_cast<int32_t>(c)), c);
  }
}

void DetectionFiles::WriteLines(const std::string& name, int64_t label) const {
  std::string text;
  for (const Found& f : found_) {
    if (label == kEveryLabel || f.label == label) text += Line(f, label == kEveryLabel);
  }
  WriteFile(name + ".txt", text);
}

// In whole pixels; the far corner is the near one and the size, each cut to one.
std::string DetectionFiles::Line(const Found& f, bool with_label) const {
  const auto x = static_cast<int64_t>(f.x), y = static_cast<int64_t>(f.y);
  std::string line = f.image->name + " ";
  if (with_label) line += std::to_string(f.label) + " ";
  line += text_of(f.score);
  for (const int64_t n :
       {x, y, x + static_cast<int64_t>(f.width), y + static_cast<int64_t>(f.height)}) {
    line += " " + std::to_string(n);
  }
  return line + "\n";
}

void DetectionFiles::WriteJson() const {
  std::string text = "[";
  for (const Found& f : found_) {
    const Value box = Value::list({exact(f.x), exact(f.y), exact(f.width), exact(f.height)});
    const Value row{{"image_id", number_or_text(f.image->name)},
                    {"category_id", number_or_text(names_.at(static_cast<int32_t>(f.label)))},
                    {"bbox", box},
                    {"score", exact(f.score)}};
    text += (text.size() > 1 ? ",\n" : "\n") + row.json();
  }
  WriteFile(".json", text + "\n]\n");
}

void DetectionFiles::WriteFile(const std::string& name, const std::string& text) const {
  const auto path =
      std::filesystem::path(params_.output_directory) / (params_.output_name_prefix + name);
  AtomicFile file(path.string());
  file.write(text.data(), text.size());
  file.commit();
}

std::unique_ptr<DetectionFiles> open_detection_files(const SaveOutputParams& p, int64_t classes,
                                                     int64_t background) {
  if (p.output_directory.empty() || p.label_map_file.empty() || p.name_size_file.empty()) {
    return nullptr;
  }
  const auto is_there = [](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
  };
  if (!is_there(p.label_map_file) && !is_there(p.name_size_file)) return nullptr;
  return std::make_unique<DetectionFiles>(p, classes, background);
}

}  // namespace pydl
