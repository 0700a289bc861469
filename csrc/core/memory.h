// Aligned memory for blobs, and the limit on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace pydl {

// Zeroed, 64-byte aligned (a cache line, and one AVX-512 register); throws pydl::Error if the
// system has none left.
std::shared_ptr<std::byte> allocate(int64_t bytes);

}  // namespace pydl
