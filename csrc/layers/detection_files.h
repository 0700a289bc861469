// The files of detections that SSD's DetectionOutput writes for the programs that score them:
// PASCAL VOC's, one for each class, COCO's JSON, or ILSVRC's.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "layers/original_image.h"
#include "layers/picture_params.h"

namespace pydl {

struct SaveOutputParams {
  std::string output_directory, output_name_prefix, output_format, label_map_file, name_size_file;
  uint32_t num_test_image = 0;
  std::optional<ResizeParams> resize_param;

  static auto fields() {
    using P = SaveOutputParams;
    return Fields(
        "save_output_param",
        Field("output_directory", &P::output_directory,
              "folder of the files; none are written "
              "without it"),
        Field("output_name_prefix", &P::output_name_prefix, "what their names begin with"),
        Field("output_format", &P::output_format,
              "VOC: PREFIXclass.txt for each class; COCO: PREFIX.json; ILSVRC: PREFIX.txt"),
        Field("label_map_file", &P::label_map_file,
              "names of the classes; where neither it nor name_size_file is there, nothing is "
              "written: models as they are published name files of the machine they come from"),
        Field("name_size_file", &P::name_size_file,
              "lines `name height width`, in the order of the images"),
        Field("num_test_image", &P::num_test_image,
              "images of a pass, after which the files are written; if absent as name_size_file "
              "has"),
        Field("resize_param", &P::resize_param, "how the images were made to fit the net"));
  }
};

// Image, class, score, x1, y1, x2, y2 as parts of the image.
using DetectionRow = std::array<float, 7>;

class DetectionFiles {
 public:
  // Throws pydl::Error for files that cannot be read or do not fit.
  DetectionFiles(const SaveOutputParams& params, int64_t classes, int64_t background);

  // Those of the next image. After the last one of a pass all are written.
  void Add(std::span<const DetectionRow> rows);

 private:
  struct Found {
    const OriginalImage* image;
    int64_t label;
    float score, x, y, width, height;  // in pixels, to hundredths
  };

  void Write() const;
  void WriteLines(const std::string& name, int64_t label) const;
  void WriteJson() const;
  std::string Line(const Found& found, bool with_label) const;
  void WriteFile(const std::string& name, const std::string& text) const;

  SaveOutputParams params_;
  std::map<int32_t, std::string> names_;
  std::vector<OriginalImage> images_;
  int64_t classes_, background_;
  size_t pass_, done_ = 0;  // images
  std::vector<Found> found_;
};

// Null where none are asked for.
std::unique_ptr<DetectionFiles> open_detection_files(const SaveOutputParams& params,
                                                     int64_t classes, int64_t background);

}  // namespace pydl
