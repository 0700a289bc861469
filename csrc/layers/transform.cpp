#include "layers/transform.h"

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/image.h"
#include "kernels/parallel.h"

namespace pydl {

namespace {

std::string record_text(const Record& record) {
  return record.name.empty() ? "a record" : record.name;
}

}  // namespace

MeanImage read_mean_image(const TransformParams& params) {
  MeanImage mean;
  if (params.mean_file.empty()) return mean;
  check(params.mean_value.empty(), "give mean_file or mean_value, not both");
  check(data_hooks().read_mean != nullptr, "mean_file \"", params.mean_file,
        "\": no reader is set; see pydl/data.h");
  mean.values = data_hooks().read_mean(params.mean_file, &mean.shape);
  check(mean.shape.size() == 3, params.mean_file, ": a mean image is channels x height x width, ",
        "this is ", shape_text(mean.shape));
  return mean;
}

std::vector<float> channel_means(const TransformParams& params, int64_t channels) {
  const std::vector<float>& given = params.mean_value;
  const auto count = static_cast<int64_t>(given.size());
  check(count <= 1 || count == channels, "mean_value is given ", count, " times for ", channels,
        " channels; give it once or once per channel");
  if (count == channels) return given;
  return std::vector<float>(channels, count == 0 ? 0 : given[0]);
}

Transform::Transform(const TransformParams& params, bool train)
    : params_(params), train_(train), mean_(read_mean_image(params)) {
  check(!params.force_color || !params.force_gray, "give force_color or force_gray, not both");
}

Shape Transform::out_shape(const Record& record) const {
  const Shape& in = record.shape;
  check(in.size() == 3 && shape_count(in) > 0, record_text(record),
        ": records must be channels x height x width, got ", shape_text(in));
  const int64_t crop = params_.crop_size;
  check(crop <= in[1] && crop <= in[2], record_text(record), ": crop_size ", crop,
        " is larger than the record, ", shape_text(in));
  check(mean_.shape.empty() || mean_.shape == in, params_.mean_file, ": the mean image is ",
        shape_text(mean_.shape), ", but ", record_text(record), " is ", shape_text(in));
  channel_means(params_, in[0]);
  return crop > 0 ? Shape{in[0], crop, crop} : in;
}

void Transform::Apply(const Records& records, uint64_t seed, uint64_t stream, int64_t first,
                      const Shape& out, float* y) const {
  for (const Record& record : records) {
    const Shape shape = out_shape(record);
    check(shape == out, record_text(record), " gives ", shape_text(shape),
          ", but the first of its batch ", shape_text(out),
          "; make them the same size (convert_imageset -resize_height -resize_width, or new_height "
          "and new_width), or cut the same out of each (crop_size)");
  }
  const std::vector<float> means = channel_means(params_, out[0]);
  const float* mean_image = mean_.values.empty() ? nullptr : mean_.values.data();
  const int64_t values = shape_count(out), count = static_cast<int64_t>(records.size());
  const kernels::ImageKernels& image = kernels::image_kernels();
  constexpr int64_t kGrain = 1 << 15;  // values worth a thread
  kernels::parallel_for(count, std::max<int64_t>(1, kGrain / values), [&](int64_t b, int64_t e) {
    for (int64_t n = b; n < e; ++n) {
      const Record& r = records[n];
      const PhiloxBlock random = philox(seed, stream, static_cast<uint64_t>(first + n));
      const int64_t spare_h = r.shape[1] - out[1], spare_w = r.shape[2] - out[2];
      const kernels::ImageCut cut{.channels = out[0],
                                  .height = r.shape[1],
                                  .width = r.shape[2],
                                  .top = train_ ? random[1] % (spare_h + 1) : spare_h / 2,
                                  .left = train_ ? random[2] % (spare_w + 1) : spare_w / 2,
                                  .rows = out[1],
                                  .columns = out[2],
                                  .flip = params_.mirror && (random[0] & 1) != 0};
      const auto apply = [&](auto kernel, const auto* x) {
        kernel(cut, x, mean_image, means.data(), params_.scale, y + n * values);
      };
      r.bytes ? apply(image.bytes, r.bytes) : apply(image.floats, r.floats);
    }
  });
}

}  // namespace pydl
