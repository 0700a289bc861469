#include "layers/transform.h"

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/parallel.h"

namespace pydl {

namespace {

std::string record_text(const Record& record) {
  return record.name.empty() ? "a record" : record.name;
}

// Where a record is cut out, and whether it is turned round.
struct Cut {
  int64_t top, left;
  bool flip;
};

// A row: y = (x - mean) * scale, backwards if `flip`.
template <class T, class Mean>
void transform_row(const T* x, Mean mean, float scale, bool flip, int64_t count, float* y) {
  if (flip) {
    for (int64_t i = 0; i < count; ++i) {
      y[count - 1 - i] = (static_cast<float>(x[i]) - mean(i)) * scale;
    }
  } else {
    for (int64_t i = 0; i < count; ++i) y[i] = (static_cast<float>(x[i]) - mean(i)) * scale;
  }
}

// x: (C, H, W)   out, y: (C, H', W')
template <class T>
void transform_record(const T* x, const Shape& in, const Cut& cut, const float* mean_image,
                      const std::vector<float>& means, float scale, const Shape& out, float* y) {
  for (int64_t c = 0; c < out[0]; ++c) {
    for (int64_t row = 0; row < out[1]; ++row, y += out[2]) {
      const int64_t from = (c * in[1] + row + cut.top) * in[2] + cut.left;
      if (mean_image) {
        const float* m = mean_image + from;
        transform_row(x + from, [m](int64_t i) { return m[i]; }, scale, cut.flip, out[2], y);
      } else {
        const float m = means[c];
        transform_row(x + from, [m](int64_t) { return m; }, scale, cut.flip, out[2], y);
      }
    }
  }
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

Transform::Transform(const TransformParams& params, bool train, bool label_maps)
    : params_(params), train_(train), label_maps_(label_maps), mean_(read_mean_image(params)) {
  check(!params.force_color || !params.force_gray, "give force_color or force_gray, not both");
}

Shape Transform::image_shape(const Record& record) const {
  Shape in = record.shape;
  check(in.size() == 3 && shape_count(in) > 0, record_text(record),
        ": records must be channels x height x width, got ", shape_text(in));
  if (label_maps_) --in[0];
  return in;
}

Shape Transform::out_shape(const Record& record) const {
  const Shape in = image_shape(record);
  const int64_t crop = params_.crop_size;
  check(crop <= in[1] && crop <= in[2], record_text(record), ": crop_size ", crop,
        " is larger than the record, ", shape_text(in));
  check(mean_.shape.empty() || mean_.shape == in, params_.mean_file, ": the mean image is ",
        shape_text(mean_.shape), ", but ", record_text(record), " is ", shape_text(in));
  channel_means(params_, in[0]);
  return crop > 0 ? Shape{in[0], crop, crop} : in;
}

void Transform::Apply(const Records& records, uint64_t seed, uint64_t stream, int64_t first,
                      const Shape& out, float* y, float* labels) const {
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
  constexpr int64_t kGrain = 1 << 15;  // values worth a thread
  kernels::parallel_for(count, std::max<int64_t>(1, kGrain / values), [&](int64_t b, int64_t e) {
    for (int64_t n = b; n < e; ++n) {
      const Record& r = records[n];
      const PhiloxBlock random = philox(seed, stream, static_cast<uint64_t>(first + n));
      const int64_t spare_h = r.shape[1] - out[1], spare_w = r.shape[2] - out[2];
      const Cut cut{train_ ? random[1] % (spare_h + 1) : spare_h / 2,
                    train_ ? random[2] % (spare_w + 1) : spare_w / 2,
                    params_.mirror && (random[0] & 1) != 0};
      const auto apply = [&](const auto* x) {
        transform_record(x, r.shape, cut, mean_image, means, params_.scale, out, y + n * values);
        if (!labels) return;
        const int64_t area = out[1] * out[2];
        transform_record(x + out[0] * r.shape[1] * r.shape[2], r.shape, cut, nullptr, {0}, 1,
                         {1, out[1], out[2]}, labels + n * area);
      };
      r.bytes ? apply(r.bytes) : apply(r.floats);
    }
  });
}

}  // namespace pydl
