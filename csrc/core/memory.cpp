#include "core/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/check.h"
#include "pydl/blob.h"

namespace pydl {

namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kMapFrom = int64_t{1} << 20;  // larger blocks come zeroed from the system

int64_t default_limit() {
  if (const char* text = std::getenv("PYDL_MEMORY_LIMIT")) {
    char* end = nullptr;
    const int64_t bytes = std::strtoll(text, &end, 10);
    check(end != text && *end == 0 && bytes > 0, "PYDL_MEMORY_LIMIT is \"", text,
          "\"; expected a number of bytes");
    return bytes;
  }
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
}

std::atomic<int64_t>& limit() {
  static std::atomic<int64_t> value(default_limit());
  return value;
}

}  // namespace

int64_t memory_limit() { return limit(); }

void set_memory_limit(int64_t bytes) {
  check(bytes > 0, "the memory limit must be positive, got ", bytes);
  limit() = bytes;
}

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  if (bytes >= kMapFrom) {
    void* p = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(p != MAP_FAILED, "out of memory: could not get ", bytes >> 20, " MiB");
    return {static_cast<std::byte*>(p), [bytes](std::byte* q) { munmap(q, bytes); }};
  }
  const size_t size = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* p = std::aligned_alloc(kAlignment, size ? size : kAlignment);
  check(p != nullptr, "out of memory: could not get ", bytes, " bytes");
  std::memset(p, 0, size ? size : kAlignment);
  return {static_cast<std::byte*>(p), [](std::byte* q) { std::free(q); }};
}

}  // namespace pydl
