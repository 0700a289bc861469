#include "core/pass_order.h"

#include <numeric>

#include "core/random.h"

namespace pydl {

namespace {
uint64_t pass_stream(uint64_t stream, int64_t pass) {
  return stream + kShuffleStream + (static_cast<uint64_t>(pass) << 8);
}
}  // namespace

std::vector<int64_t> permutation(int64_t n, uint64_t seed, uint64_t stream) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  Random random(seed, stream);
  for (int64_t k = n - 1; k > 0; --k) std::swap(order[k], order[random.below(k + 1)]);
  return order;
}

int64_t PassOrder::at(int64_t i) {
  const int64_t pass = i / size_;
  if (!shuffle_) return i % size_;
  if (pass != shuffled_pass_) {
    order_ = permutation(size_, seed_, pass_stream(stream_, pass));
    shuffled_pass_ = pass;
  }
  return order_[i % size_];
}

FilePassOrder::FilePassOrder(std::vector<int64_t> file_rows, bool shuffle, uint64_t seed,
                             uint64_t stream)
    : rows_(std::move(file_rows)), shuffle_(shuffle), seed_(seed), stream_(stream) {
  total_ = std::accumulate(rows_.begin(), rows_.end(), int64_t{0});
}

int64_t FilePassOrder::at(int64_t i) {
  if (!shuffle_) return i % total_;
  if (i / total_ != shuffled_pass_) Shuffle(i / total_);
  return order_[i % total_];
}

void FilePassOrder::Shuffle(int64_t pass) {
  const uint64_t stream = pass_stream(stream_, pass);
  const auto files = static_cast<int64_t>(rows_.size());
  std::vector<int64_t> start(rows_.size(), 0);
  for (int64_t f = 1; f < files; ++f) start[f] = start[f - 1] + rows_[f - 1];
  order_.clear();
  order_.reserve(total_);
  for (int64_t f : permutation(files, seed_, stream)) {
    const uint64_t rows_stream = stream ^ (static_cast<uint64_t>(f + 1) << 40);
    for (int64_t row : permutation(rows_[f], seed_, rows_stream)) order_.push_back(start[f] + row);
  }
  shuffled_pass_ = pass;
}

}  // namespace pydl
