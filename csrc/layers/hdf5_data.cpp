// HDF5Data: rows of the datasets that its tops are named after, from one or several files.
//
// A batch runs on into the next file, and from the last into the first. With `shuffle` the files
// come in a random order in each pass, and the rows of each in a random order.

#include <algorithm>

#include "core/check.h"
#include "core/pass_order.h"
#include "core/random.h"
#include "core/read_ahead.h"
#include "layers/source_hook.h"
#include "pydl/data.h"
#include "pydl/layer.h"

namespace pydl {

struct Hdf5DataParams {
  std::string source;
  uint32_t batch_size = 0, prefetch = 4;
  bool shuffle = false;

  static auto fields() {
    using P = Hdf5DataParams;
    return Fields("hdf5_data_param",
                  Field("source", &P::source, "a text file that names the HDF5 files"),
                  Field("batch_size", &P::batch_size, "rows per batch; required"),
                  Field("shuffle", &P::shuffle, "a new random order in each pass over the files"),
                  Field("prefetch", &P::prefetch, "batches to read ahead, while the net computes"));
  }
};

// tops: one for each dataset, (batch_size, ...)
class Hdf5Data final : public LayerOf<Hdf5DataParams> {
 public:
  Arity bottoms() const override { return {0, 0}; }
  Arity tops() const override { return {1, -1}; }
  std::vector<int64_t*> state() override { return {&cursor_}; }

  void SetUp(const Blobs&, const Blobs& top) override {
    const Hdf5DataParams& p = params_of();
    check(p.batch_size > 0, "hdf5_data_param.batch_size must be given and positive");
    check(!p.source.empty(), "hdf5_data_param.source must be given");
    const auto& open = checked_hook(data_hooks().open_rows, p.source);
    SourceRequest request;
    request.layer = "HDF5Data";
    request.source = p.source;
    request.columns = spec_.top;
    request.shuffle = p.shuffle;
    source_ = open(request);
    shapes_ = source_->row_shapes();
    check(shapes_.size() == top.size(), "its source has ", shapes_.size(), " columns for ",
          top.size(), " tops");
    int64_t rows = 0;
    for (int64_t n : source_->file_rows()) rows += n;
    check(rows > 0, "source \"", p.source, "\" has no rows");
    Open(context().seed);
  }

  void Reshape(const Blobs&, const Blobs& top) override {
    for (size_t t = 0; t < top.size(); ++t) {
      Shape shape = shapes_[t];
      shape.insert(shape.begin(), params_of().batch_size);
      top[t]->Reshape(shape);
    }
  }

  void Forward(const Blobs&, const Blobs& top) override {
    if (context().seed != seed_) Open(context().seed);
    const auto item = batches_->Get(cursor_);
    const auto& columns = *static_cast<const Columns*>(item.get());
    for (size_t t = 0; t < top.size(); ++t) {
      std::copy(columns[t].begin(), columns[t].end(), top[t]->mutable_data());
    }
    cursor_ += params_of().batch_size;
  }

 private:
  using Columns = std::vector<std::vector<float>>;

  void Open(uint64_t seed) {
    const Hdf5DataParams& p = params_of();
    seed_ = seed;
    const auto order =
        std::make_shared<FilePassOrder>(source_->file_rows(), p.shuffle, seed, stream_of(name()));
    const auto read = [order, source = source_, shapes = shapes_,
                       n = int64_t{p.batch_size}](int64_t first) {
      std::vector<int64_t> rows(n);
      for (int64_t i = 0; i < n; ++i) rows[i] = order->at(first + i);
      auto columns = std::make_shared<Columns>(source->Read(rows));
      for (size_t t = 0; t < shapes.size(); ++t) {
        check(static_cast<int64_t>(columns->at(t).size()) == n * shape_count(shapes[t]),
              "its source gave ", columns->at(t).size(), " values for ", n, " rows of ",
              shape_text(shapes[t]));
      }
      return std::shared_ptr<const void>(columns);
    };
    batches_ = std::make_unique<ReadAhead>(read, p.batch_size, p.prefetch);
  }

  std::shared_ptr<RowSource> source_;
  std::vector<Shape> shapes_;
  uint64_t seed_ = 0;
  std::unique_ptr<ReadAhead> batches_;
  int64_t cursor_ = 0;  // rows given out so far
};

PYDL_REGISTER_LAYER("HDF5Data", Hdf5Data, "Rows of the datasets of HDF5 files.");

}  // namespace pydl
