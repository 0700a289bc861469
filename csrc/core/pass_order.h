// The order in which a run goes through its records: pass after pass, each shuffled anew if asked.
#pragma once

#include <cstdint>
#include <vector>

namespace pydl {

// 0 to n - 1 in a random order that is a function of seed and stream (Fisher-Yates).
std::vector<int64_t> permutation(int64_t n, uint64_t seed, uint64_t stream);

class PassOrder {
 public:
  PassOrder(int64_t size, bool shuffle, uint64_t seed, uint64_t stream)
      : size_(size), shuffle_(shuffle), seed_(seed), stream_(stream) {}
  // Which record is number `i` of the run.
  int64_t at(int64_t i);

 private:
  int64_t size_;
  bool shuffle_;
  uint64_t seed_, stream_;
  int64_t shuffled_pass_ = -1;
  std::vector<int64_t> order_;
};

// The same over the rows of several files, which are shuffled as Caffe does: the order of the
// files, and the rows within each.
class FilePassOrder {
 public:
  FilePassOrder(std::vector<int64_t> file_rows, bool shuffle, uint64_t seed, uint64_t stream);
  int64_t at(int64_t i);  // counted over all files

 private:
  void Shuffle(int64_t pass);

  std::vector<int64_t> rows_;
  bool shuffle_;
  uint64_t seed_, stream_;
  int64_t total_ = 0, shuffled_pass_ = -1;
  std::vector<int64_t> order_;
};

// Streams of a data layer besides its own, which crops and mirrors.
constexpr uint64_t kSkipStream = 1, kShuffleStream = 2;

}  // namespace pydl
