// Data: batches of records from a source, in order or shuffled.

#include "pydl/data.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "core/random.h"
#include "layers/transform.h"
#include "pydl/layer.h"

namespace pydl {

enum class Backend { kLevelDb = 0, kLmdb = 1 };
constexpr std::array<EnumName, 2> enum_names(Backend) { return {{{"LEVELDB", 0}, {"LMDB", 1}}}; }

struct DataParams {
  std::string source;
  uint32_t batch_size = 0, rand_skip = 0, prefetch = 4, crop_size = 0;
  std::optional<Backend> backend;
  float scale = 1;
  std::string mean_file;
  bool mirror = false, force_encoded_color = false, shuffle = false;

  static auto fields() {
    using P = DataParams;
    return Fields(
        "data_param",
        Field("source", &P::source, "a built-in set (mnist_sample/train), IDX, npz or LMDB"),
        Field("batch_size", &P::batch_size, "records per batch; required"),
        Field("rand_skip", &P::rand_skip, "start after up to this many records, at random"),
        Field("backend", &P::backend, "for Caffe's databases: LMDB or LEVELDB"),
        Field("scale", &P::scale, "old place of transform_param.scale"),
        Field("mean_file", &P::mean_file, "old place of transform_param.mean_file"),
        Field("crop_size", &P::crop_size, "old place of transform_param.crop_size"),
        Field("mirror", &P::mirror, "old place of transform_param.mirror"),
        Field("force_encoded_color", &P::force_encoded_color, "decode images to 3 channels"),
        Field("prefetch", &P::prefetch, "accepted for Caffe's files; no effect"),
        Field("shuffle", &P::shuffle, "a new random order in each pass over the source"));
  }
};

// tops: data (batch_size, C, H, W), and perhaps label (batch_size)
class Data final : public LayerOf<DataParams, TransformParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {1, 2}; }
  std::vector<int64_t*> state() override { return {&cursor_}; }

  void SetUp(const Blobs&, const Blobs&) override {
    const DataParams& p = params_of();
    check(p.batch_size > 0, "data_param.batch_size must be given and positive");
    check(!p.source.empty(), "data_param.source must be given");
    check(data_hooks().open != nullptr, "source \"", p.source,
          "\": nothing can open it; a C++ program calls set_data_hooks (pydl/data.h) first");
    const char* backend = !p.backend ? "" : *p.backend == Backend::kLmdb ? "LMDB" : "LEVELDB";
    source_ = data_hooks().open(p.source, backend);
    check(source_->size() > 0, "source \"", p.source, "\" is empty");
    transform_ = std::make_unique<Transform>(transform_params(), source_->record_shape(),
                                             phase() == Phase::kTrain);
    if (p.rand_skip > 0) {
      cursor_ = Random(context().seed, stream_of(name()) + kSkipStream).below(p.rand_skip);
    }
  }

  void Reshape(const Blobs&, const Blobs& top) override {
    Shape shape = transform_->out_shape();
    shape.insert(shape.begin(), params_of().batch_size);
    top[0]->Reshape(shape);
    if (top.size() > 1) top[1]->Reshape({params_of().batch_size});
  }

  void Forward(const Blobs&, const Blobs& top) override {
    const int64_t batch = params_of().batch_size;
    images_.resize(batch * shape_count(source_->record_shape()));
    labels_.resize(batch);
    indices_.resize(batch);
    for (int64_t i = 0; i < batch; ++i) indices_[i] = record(cursor_ + i);
    source_->Read(indices_.data(), batch, images_.data(), labels_.data());
    transform_->Apply(batch, context().seed, stream_of(name()), cursor_, images_.data(),
                      top[0]->mutable_data());
    if (top.size() > 1) std::copy(labels_.begin(), labels_.end(), top[1]->mutable_data());
    cursor_ += batch;
  }

 private:
  static constexpr uint64_t kSkipStream = 1, kShuffleStream = 2;

  TransformParams transform_params() const {
    TransformParams t = params_of<TransformParams>();
    const DataParams& p = params_of();
    if (p.scale != 1) t.scale = p.scale;
    if (!p.mean_file.empty()) t.mean_file = p.mean_file;
    if (p.crop_size > 0) t.crop_size = p.crop_size;
    if (p.mirror) t.mirror = true;
    return t;
  }

  // Which record is number `i` of the run: a pass over the source after another.
  int64_t record(int64_t i) {
    const int64_t size = source_->size(), pass = i / size;
    if (!params_of().shuffle) return i % size;
    if (pass != shuffled_pass_) {  // Fisher-Yates, as a function of the seed and the pass
      order_.resize(size);
      std::iota(order_.begin(), order_.end(), int64_t{0});
      Random random(context().seed, stream_of(name()) + kShuffleStream + (uint64_t(pass) << 8));
      for (int64_t k = size - 1; k > 0; --k) std::swap(order_[k], order_[random.below(k + 1)]);
      shuffled_pass_ = pass;
    }
    return order_[i % size];
  }

  std::shared_ptr<DataSource> source_;
  std::unique_ptr<Transform> transform_;
  int64_t cursor_ = 0;  // records read so far
  int64_t shuffled_pass_ = -1;
  std::vector<int64_t> order_, indices_;
  std::vector<float> images_, labels_;
};

PYDL_REGISTER_LAYER("Data", Data, "Batches of records from a data set or database.");

}  // namespace pydl
