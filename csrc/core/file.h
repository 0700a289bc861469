// Files: whole reads by mmap, and writes that either replace the old file or leave it alone.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace pydl {

// A file in memory, read only, for as long as this lives. Throws pydl::Error naming path and cause.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Writes a temporary file beside `path`, which replaces it in commit(), once all is on the disk.
// Without commit(), or after a failure, the old file is as it was. Throws pydl::Error.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  void commit();

 private:
  [[noreturn]] void fail_io(const char* what);
  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace pydl
