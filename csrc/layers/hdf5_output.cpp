// HDF5Output: writes its two bottoms as the datasets "data" and "label" of a file.
//
// The first forward pass makes the file anew and each adds its rows; Caffe gives up at the second.
// After each pass the file is complete. As in Caffe the datasets have at least four axes.

#include "core/check.h"
#include "pydl/data.h"
#include "pydl/layer.h"

namespace pydl {

struct Hdf5OutputParams {
  std::string file_name;

  static auto fields() {
    return Fields("hdf5_output_param",
                  Field("file_name", &Hdf5OutputParams::file_name, "the file to write; required"));
  }
};

// bottoms: data (N, ...), label (N, ...)
class Hdf5Output final : public LayerOf<Hdf5OutputParams> {
 public:
  Arity bottoms() const override { return {2, 2}; }
  Arity tops() const override { return {0, 0}; }
  bool backward_reads_bottom(int) const override { return false; }
  bool can_propagate(int) const override { return false; }

  void SetUp(const Blobs&, const Blobs&) override {
    const std::string& file = params_of().file_name;
    check(!file.empty(), "hdf5_output_param.file_name must be given");
    check(data_hooks().open_output != nullptr, "file \"", file,
          "\": nothing can write it; a C++ program calls set_data_hooks (pydl/data.h) first");
    file_ = data_hooks().open_output(file);
  }

  void Reshape(const Blobs& bottom, const Blobs&) override {
    check(bottom[0]->axes() > 0 && bottom[1]->axes() > 0 &&
              bottom[0]->shape(0) == bottom[1]->shape(0),
          "data and label must have as many rows: they are ", shape_text(bottom[0]->shape()),
          " and ", shape_text(bottom[1]->shape()));
  }

  void Forward(const Blobs& bottom, const Blobs&) override {
    file_->Append({Column("data", *bottom[0]), Column("label", *bottom[1])});
  }

 private:
  static RowSink::Column Column(const char* name, const Blob& blob) {
    Shape shape = blob.shape();
    if (shape.size() < 4) shape.resize(4, 1);
    return {name, shape, blob.data()};
  }

  std::shared_ptr<RowSink> file_;
};

PYDL_REGISTER_LAYER("HDF5Output", Hdf5Output, "Writes its bottoms to an HDF5 file.");

}  // namespace pydl
