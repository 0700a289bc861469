#include "layers/transform.h"

#include <algorithm>

#include "core/check.h"
#include "core/random.h"
#include "kernels/parallel.h"
#include "pydl/data.h"

namespace pydl {

namespace {

std::vector<float> read_mean(const TransformParams& p, const Shape& record) {
  check(p.mean_file.empty() || p.mean_value.empty(), "give mean_file or mean_value, not both");
  const int64_t plane = record[1] * record[2];
  std::vector<float> mean;
  if (!p.mean_file.empty()) {
    check(data_hooks().read_mean != nullptr, "mean_file \"", p.mean_file,
          "\": no reader is set; see pydl/data.h");
    Shape shape;
    mean = data_hooks().read_mean(p.mean_file, &shape);
    check(shape == record, p.mean_file, ": the mean image is ", shape_text(shape),
          ", but the records are ", shape_text(record));
  } else if (!p.mean_value.empty()) {
    const auto given = static_cast<int64_t>(p.mean_value.size());
    check(given == 1 || given == record[0], "mean_value is given ", given, " times for ", record[0],
          " channels; give it once or once per channel");
    for (int64_t c = 0; c < record[0]; ++c) {
      mean.insert(mean.end(), plane, p.mean_value[given == 1 ? 0 : c]);
    }
  }
  return mean;
}

}  // namespace

Transform::Transform(const TransformParams& params, const Shape& record, bool train)
    : params_(params), in_(record), out_(record), train_(train) {
  check(record.size() == 3, "records must be channels x height x width, got ", shape_text(record));
  const int64_t crop = params.crop_size;
  check(crop <= record[1] && crop <= record[2], "crop_size ", crop, " is larger than the records, ",
        shape_text(record));
  if (crop > 0) out_ = {record[0], crop, crop};
  mean_ = read_mean(params, record);
}

void Transform::Apply(int64_t count, uint64_t seed, uint64_t stream, int64_t first, const float* x,
                      float* y) const {
  const int64_t c = in_[0], h = in_[1], w = in_[2], oh = out_[1], ow = out_[2];
  const float scale = params_.scale;
  const float* mean = mean_.empty() ? nullptr : mean_.data();
  constexpr int64_t kGrain = 1 << 15;  // values worth a thread
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, c * oh * ow));
  kernels::parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const PhiloxBlock random = philox(seed, stream, static_cast<uint64_t>(first + n));
      const bool flip = params_.mirror && (random[0] & 1);
      const int64_t top = train_ ? random[1] % (h - oh + 1) : (h - oh) / 2;
      const int64_t left = train_ ? random[2] % (w - ow + 1) : (w - ow) / 2;
      for (int64_t row = 0; row < c * oh; ++row) {
        const int64_t from = (row / oh * h + row % oh + top) * w + left;
        const float* source = x + n * c * h * w + from;
        float* target = y + (n * c * oh + row) * ow;
        for (int64_t i = 0; i < ow; ++i) {
          const int64_t to = flip ? ow - 1 - i : i;
          target[to] = (source[i] - (mean ? mean[from + i] : 0)) * scale;
        }
      }
    }
  });
}

}  // namespace pydl
