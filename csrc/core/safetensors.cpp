#include "core/safetensors.h"

#include <bit>
#include <cstring>

#include "core/check.h"
#include "pydl/value.h"

namespace pydl {

static_assert(std::endian::native == std::endian::little,
              "safetensors holds little-endian numbers");

namespace {

constexpr size_t kAlign = 64;
constexpr uint64_t kMostHeader = 100 << 20;

}  // namespace

void write_safetensors(const std::string& path, const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  Value header = Value::map();
  for (const auto& [key, text] : metadata) header["__metadata__"][key] = text;
  int64_t offset = 0;
  for (const TensorEntry& t : tensors) {
    const int64_t bytes = shape_count(t.shape) * int64_t{sizeof(float)};
    Value::List shape(t.shape.begin(), t.shape.end());
    header[t.name] = Value{{"dtype", "F32"},
                           {"shape", shape},
                           {"data_offsets", Value::list({offset, offset + bytes})}};
    offset += bytes;
  }
  std::string text = header.json();
  text.resize((text.size() + 8 + kAlign - 1) / kAlign * kAlign - 8, ' ');
  const uint64_t length = text.size();
  AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(text.data(), text.size());
  for (const TensorEntry& t : tensors) {
    file.write(t.data, static_cast<size_t>(shape_count(t.shape)) * sizeof(float));
  }
  file.commit();
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  uint64_t length = 0;
  check(file_.size() >= sizeof(length), path, ": not a safetensors file: only ", file_.size(),
        " bytes");
  std::memcpy(&length, file_.data(), sizeof(length));
  check(length <= kMostHeader && length <= file_.size() - sizeof(length), path,
        ": not a safetensors file, or cut off: its header would have ", length, " bytes, but the ",
        "file has ", file_.size());
  const char* text = reinterpret_cast<const char*>(file_.data()) + sizeof(length);
  const std::byte* data = file_.data() + sizeof(length) + length;
  const int64_t size = static_cast<int64_t>(file_.size() - sizeof(length) - length);
  try {
    const Value header = Value::from_json(std::string(text, length));
    for (const auto& [name, entry] : header.as_map()) {
      if (name == "__metadata__") {
        for (const auto& [key, v] : entry.as_map()) metadata_[key] = v.as_text();
        continue;
      }
      const Value *dtype = entry.find("dtype"), *shape = entry.find("shape"),
                  *offsets = entry.find("data_offsets");
      check(dtype && shape && offsets && offsets->as_list().size() == 2, "tensor \"", name,
            "\" lacks dtype, shape or data_offsets");
      check(dtype->as_text() == "F32", "tensor \"", name, "\" is ", dtype->as_text(),
            "; only F32 can be read here");
      TensorEntry t{name, {}, nullptr};
      for (const Value& dim : shape->as_list()) t.shape.push_back(dim.as_int());
      const int64_t begin = offsets->as_list()[0].as_int(), end = offsets->as_list()[1].as_int();
      const int64_t bytes = shape_count(t.shape) * int64_t{sizeof(float)};
      check(begin >= 0 && begin <= end && end <= size && end - begin == bytes && begin % 4 == 0,
            "tensor \"", name, "\" of shape ", shape_text(t.shape), " lies at bytes ", begin,
            " to ", end, " of ", size);
      t.data = reinterpret_cast<const float*>(data + begin);
      tensors_.push_back(std::move(t));
    }
  } catch (const Error& e) {
    fail(path, ": bad safetensors file, or cut off: ", e.what());
  }
}

const TensorEntry* SafetensorsFile::find(const std::string& name) const {
  for (const TensorEntry& t : tensors_) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

}  // namespace pydl
