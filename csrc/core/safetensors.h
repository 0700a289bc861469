// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "pydl/blob.h"

namespace pydl {

struct TensorEntry {
  std::string name;
  Shape shape;
  const float* data;
};

// Float32 tensors and texts. Replaces `path` only when complete.
void write_safetensors(const std::string& path, const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata);

// An open file; the tensors point into it. Every size is checked; throws pydl::Error.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  const TensorEntry* find(const std::string& name) const;

 private:
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorEntry> tensors_;
};

}  // namespace pydl
