#include "kernels/scratch.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

namespace pydl::kernels {
namespace {

constexpr std::align_val_t kAlign{64};

struct AlignedDelete {
  void operator()(float* p) const { ::operator delete[](p, kAlign); }
};

struct Block {
  std::unique_ptr<float[], AlignedDelete> memory;
  int64_t size, used = 0;
  explicit Block(int64_t n)
      : memory(
            static_cast<float*>(::operator new[](static_cast<size_t>(n) * sizeof(float), kAlign))),
        size(n) {}
};

class Stack {
 public:
  float* push(int64_t size) {
    if (blocks_.empty() || blocks_.back().size - blocks_.back().used < size) add(size);
    Block& block = blocks_.back();
    block.used += size;
    return block.memory.get() + block.used - size;
  }

  void pop(int64_t size) {
    blocks_.back().used -= size;
    while (blocks_.size() > 1 && blocks_.back().used == 0) blocks_.pop_back();
    // What once took several blocks is one block the next time.
    if (blocks_.back().used == 0 && blocks_.back().size < most_) blocks_.clear();
  }

 private:
  void add(int64_t size) {
    blocks_.emplace_back(blocks_.empty() ? std::max(size, most_) : size);
    int64_t total = size;
    for (const Block& b : blocks_) total += b.used;
    most_ = std::max(most_, total);
  }

  std::vector<Block> blocks_;
  int64_t most_ = 0;
};

thread_local Stack stack;

}  // namespace

Scratch::Scratch(int64_t floats)
    : size_(std::max<int64_t>(aligned_size(floats), 16)), data_(stack.push(size_)) {}
Scratch::~Scratch() { stack.pop(size_); }

}  // namespace pydl::kernels
