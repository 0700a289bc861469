#include "pydl/filler.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/random.h"

namespace pydl {

namespace {

struct Fan {
  double in, out;
};

// Caffe's: the first axis is the output, the second the input, the rest the kernel.
Fan fan(const Blob& blob) {
  const double count = static_cast<double>(blob.count());
  const double in = blob.axes() > 0 && blob.shape(0) > 0 ? count / blob.shape(0) : count;
  const double out = blob.axes() > 1 && blob.shape(1) > 0 ? count / blob.shape(1) : count;
  return {in, out};
}

double variance_n(const FillerParams& p, const Blob& blob) {
  const Fan f = fan(blob);
  switch (p.variance_norm) {
    case VarianceNorm::kFanOut:
      return f.out;
    case VarianceNorm::kAverage:
      return (f.in + f.out) / 2;
    default:
      return f.in;
  }
}

void fill_uniform(Random* random, float least, float greatest, int64_t n, float* y) {
  check(least <= greatest, "uniform filler: min ", least, " is larger than max ", greatest);
  for (int64_t i = 0; i < n; ++i) y[i] = least + (greatest - least) * random->uniform();
}

void fill_gaussian(Random* random, float mean, float std, int64_t n, float* y) {
  check(std >= 0, "gaussian filler: std ", std, " is negative");
  for (int64_t i = 0; i < n; ++i) y[i] = mean + std * random->gaussian();
}

// Each output keeps about `sparse` of its inputs.
void make_sparse(Random* random, int sparse, const Blob& blob, float* y) {
  check(blob.axes() >= 1, "gaussian filler: sparse needs a blob with axes");
  const float keep = static_cast<float>(sparse) / static_cast<float>(blob.shape(0));
  for (int64_t i = 0; i < blob.count(); ++i) {
    if (random->uniform() >= keep) y[i] = 0;
  }
}

// Every row (axis 0) is positive and sums to 1.
void fill_positive_unitball(Random* random, const Blob& blob, float* y) {
  check(blob.axes() >= 1 && blob.count() > 0, "positive_unitball filler: needs a blob with values");
  const int64_t rows = blob.shape(0), dim = blob.count() / rows;
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t i = 0; i < dim; ++i) sum += y[r * dim + i] = random->uniform();
    for (int64_t i = 0; i < dim; ++i) y[r * dim + i] /= static_cast<float>(sum);
  }
}

// Interpolation weights for upsampling by a Deconvolution layer.
void fill_bilinear(const Blob& blob, float* y) {
  check(blob.axes() == 4 && blob.shape(2) == blob.shape(3),
        "bilinear filler: needs a 4-axis blob with square kernels, got ", shape_text(blob.shape()));
  const int64_t size = blob.shape(3);
  const int factor = static_cast<int>(std::ceil(size / 2.0));
  const double center = static_cast<double>(size - 1) / (2.0 * factor);
  for (int64_t i = 0; i < blob.count(); ++i) {
    const double x = static_cast<double>(i % size), row = static_cast<double>(i / size % size);
    y[i] = static_cast<float>((1 - std::fabs(x / factor - center)) *
                              (1 - std::fabs(row / factor - center)));
  }
}

}  // namespace

void Fill(const FillerParams& p, uint64_t seed, uint64_t stream, Blob* blob) {
  Random random(seed, stream);
  const int64_t n = blob->count();
  float* y = blob->mutable_data();
  check(p.sparse >= -1, "filler: sparse must be -1 or more, got ", p.sparse);
  check(p.sparse == -1 || p.type == "gaussian", "filler: sparse goes with gaussian, not with ",
        p.type);
  if (p.type == "constant") {
    std::fill(y, y + n, p.value);
  } else if (p.type == "uniform") {
    fill_uniform(&random, p.min, p.max, n, y);
  } else if (p.type == "gaussian") {
    fill_gaussian(&random, p.mean, p.std, n, y);
    if (p.sparse >= 0) make_sparse(&random, p.sparse, *blob, y);
  } else if (p.type == "xavier") {
    const auto limit = static_cast<float>(std::sqrt(3 / variance_n(p, *blob)));
    fill_uniform(&random, -limit, limit, n, y);
  } else if (p.type == "msra") {
    fill_gaussian(&random, 0, static_cast<float>(std::sqrt(2 / variance_n(p, *blob))), n, y);
  } else if (p.type == "positive_unitball") {
    fill_positive_unitball(&random, *blob, y);
  } else if (p.type == "bilinear") {
    fill_bilinear(*blob, y);
  } else {
    fail("unknown filler type \"", p.type, "\"",
         did_you_mean(p.type, {"constant", "uniform", "gaussian", "xavier", "msra",
                               "positive_unitball", "bilinear"}));
  }
}

}  // namespace pydl
