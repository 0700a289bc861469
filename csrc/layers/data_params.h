// data_param, which the layers that read data sets and databases share.
#pragma once

#include <string>

#include "pydl/data.h"
#include "pydl/fields.h"

namespace pydl {

enum class Backend { kLevelDb = 0, kLmdb = 1 };
constexpr std::array<EnumName, 2> enum_names(Backend) { return {{{"LEVELDB", 0}, {"LMDB", 1}}}; }

struct DataParams {
  std::string source;
  uint32_t batch_size = 0, rand_skip = 0, prefetch = 4, crop_size = 0, workers = 0;
  std::optional<Backend> backend;
  float scale = 1;
  std::string mean_file;
  bool mirror = false, force_encoded_color = false, shuffle = false;

  static auto fields() {
    using P = DataParams;
    return Fields(
        "data_param",
        Field("source", &P::source, "a built-in set (mnist_sample/train), IDX, npz, LMDB, LevelDB"),
        Field("batch_size", &P::batch_size, "records per batch; required"),
        Field("rand_skip", &P::rand_skip, "start after up to this many records, at random"),
        Field("backend", &P::backend, "for Caffe's databases: LMDB or LEVELDB"),
        Field("scale", &P::scale, "old place of transform_param.scale"),
        Field("mean_file", &P::mean_file, "old place of transform_param.mean_file"),
        Field("crop_size", &P::crop_size, "old place of transform_param.crop_size"),
        Field("mirror", &P::mirror, "old place of transform_param.mirror"),
        Field("force_encoded_color", &P::force_encoded_color, "decode images to 3 channels"),
        Field("prefetch", &P::prefetch, "batches to read ahead, while the net computes"),
        Field("shuffle", &P::shuffle, "a new random order in each pass over the source"),
        Field("workers", &P::workers, "processes that read and decode; 0: this one does"));
  }
};

// `color`: as the layer's transform_param has it.
inline SourceRequest source_request(const char* layer, const DataParams& p, const char* color) {
  SourceRequest request;
  request.layer = layer;
  request.source = p.source;
  request.backend = !p.backend ? "" : *p.backend == Backend::kLmdb ? "LMDB" : "LEVELDB";
  request.color = p.force_encoded_color ? "color" : color;
  request.workers = p.workers;
  return request;
}

}  // namespace pydl
