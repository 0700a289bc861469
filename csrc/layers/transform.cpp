#include "layers/transform.h"

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/eltwise.h"
#include "kernels/image.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "layers/augment.h"

namespace pydl {

namespace {

constexpr uint64_t kAugmentStream = stream_of("augment");

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

Transform::Transform(const TransformParams& params, bool train, bool label_maps)
    : params_(params), train_(train), label_maps_(label_maps), mean_(read_mean_image(params)) {
  check(!params.force_color || !params.force_gray, "give force_color or force_gray, not both");
  if (params.augment) check_params(*params.augment);
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
  if (params_.augment) check_picture(*params_.augment, in);
  return crop > 0 ? Shape{in[0], crop, crop} : in;
}

void Transform::Apply(const Records& records, uint64_t seed, uint64_t stream, int64_t first,
                      const Shape& out, float* y, float* labels) const {
  int64_t scratch_size = 0;
  for (const Record& record : records) {
    const Shape shape = out_shape(record);
    check(shape == out, record_text(record), " gives ", shape_text(shape),
          ", but the first of its batch ", shape_text(out),
          "; make them the same size (convert_imageset -resize_height -resize_width, or new_height "
          "and new_width), or cut the same out of each (crop_size)");
    if (varies())
      scratch_size = std::max(scratch_size, Augmentation::scratch_size(image_shape(record), out));
  }
  const Means means = MeansOf(out[0]);
  const int64_t values = shape_count(out), count = static_cast<int64_t>(records.size());
  const int64_t grain = varies() ? 1 << 12 : 1 << 15;  // values worth a thread
  const int64_t most = count / std::max<int64_t>(1, grain / values);
  const int threads = static_cast<int>(std::clamp<int64_t>(most, 1, kernels::num_threads()));
  const kernels::Scratch scratch(threads * scratch_size);
  kernels::parallel(threads, [&](int thread, int parts) {
    const kernels::Range range = kernels::part_of(count, thread, parts);
    for (int64_t n = range.begin; n < range.end; ++n) {
      const Record& r = records[n];
      const auto number = static_cast<uint64_t>(first + n);
      const PhiloxBlock random = philox(seed, stream, number);
      const int64_t spare_h = r.shape[1] - out[1], spare_w = r.shape[2] - out[2];
      const kernels::ImageCut cut{.channels = out[0],
                                  .height = r.shape[1],
                                  .width = r.shape[2],
                                  .top = train_ ? random[1] % (spare_h + 1) : spare_h / 2,
                                  .left = train_ ? random[2] % (spare_w + 1) : spare_w / 2,
                                  .rows = out[1],
                                  .columns = out[2],
                                  .flip = params_.mirror && (random[0] & 1) != 0};
      float* to = y + n * values;
      float* map = labels ? labels + n * cut.rows * cut.columns : nullptr;
      if (varies()) {
        const PhiloxBlock key = philox(seed, stream + kAugmentStream, number);
        WriteVaried(r, cut, means, key, scratch.data() + thread * scratch_size, to, map);
      } else {
        Write(r, cut, means, to, map);
      }
    }
  });
}

void Transform::ApplyTo(const Record& picture, const kernels::ImageCut& cut, uint64_t seed,
                        uint64_t stream, int64_t number, float* y) const {
  check(mean_.shape.empty() || mean_.shape == picture.shape, params_.mean_file,
        ": the mean image is ", shape_text(mean_.shape), ", the picture ",
        shape_text(picture.shape));
  const Means means = MeansOf(picture.shape[0]);
  if (!varies()) return Write(picture, cut, means, y, nullptr);
  check_picture(*params_.augment, picture.shape);
  const kernels::Scratch scratch(
      Augmentation::scratch_size(picture.shape, {cut.channels, cut.rows, cut.columns}));
  const PhiloxBlock key = philox(seed, stream + kAugmentStream, static_cast<uint64_t>(number));
  WriteVaried(picture, cut, means, key, scratch.data(), y, nullptr);
}

Transform::Means Transform::MeansOf(int64_t channels) const {
  Means means{channel_means(params_, channels), {}};
  if (!varies()) return means;
  means.fill = params_.augment->fill;
  if (means.fill.size() == 1) means.fill.resize(channels, means.fill[0]);
  if (!means.fill.empty()) return means;
  means.fill = means.of_channels;
  const int64_t plane = static_cast<int64_t>(mean_.values.size()) / channels;
  for (int64_t c = 0; plane > 0 && c < channels; ++c) {
    const double sum = kernels::eltwise_kernels().sum(plane, mean_.values.data() + c * plane);
    means.fill[c] = static_cast<float>(sum / static_cast<double>(plane));
  }
  return means;
}

void Transform::Write(const Record& record, const kernels::ImageCut& cut, const Means& means,
                      float* y, float* labels) const {
  const kernels::ImageKernels& image = kernels::image_kernels();
  const float* mean_image = mean_.values.empty() ? nullptr : mean_.values.data();
  const auto apply = [&](auto kernel, const auto* x) {
    kernel(cut, x, mean_image, means.of_channels.data(), params_.scale, y);
    if (!labels) return;
    kernels::ImageCut map = cut;
    map.channels = 1;
    const float no_mean = 0;
    kernel(map, x + cut.channels * cut.height * cut.width, nullptr, &no_mean, 1, labels);
  };
  record.bytes ? apply(image.bytes, record.bytes) : apply(image.floats, record.floats);
}

void Transform::WriteVaried(const Record& record, const kernels::ImageCut& cut, const Means& means,
                            const PhiloxBlock& key, float* scratch, float* y, float* labels) const {
  const kernels::ImageKernels& image = kernels::image_kernels();
  const Augmentation augmentation(*params_.augment, key);
  augmentation.Apply(record, cut, means.fill, scratch, y);
  if (labels) augmentation.ApplyToLabels(record, cut, scratch, labels);
  // The mean image does not move with the picture, but is cut out and mirrored as ever.
  const float* mean_image = mean_.values.empty() ? nullptr : scratch;
  if (mean_image) {
    image.floats(cut, mean_.values.data(), nullptr, means.of_channels.data(), 1, scratch);
  }
  kernels::ImageCut all = cut;
  all.height = all.rows, all.width = all.columns;
  all.top = all.left = 0, all.flip = false;
  image.floats(all, y, mean_image, means.of_channels.data(), params_.scale, y);
}

}  // namespace pydl
