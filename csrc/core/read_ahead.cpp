#include "core/read_ahead.h"

#include <set>

#include "core/check.h"
#include "pydl/data.h"

namespace pydl {

namespace {

constexpr int64_t kMostAhead = 1024;

struct Registry {
  std::mutex mutex;
  std::set<ReadAhead*> live;
  bool ended = false;
};

Registry& registry() {
  static Registry* value = new Registry;  // outlives every static net
  return *value;
}

thread_local bool reads_ahead = false;

bool ended() {
  const std::lock_guard lock(registry().mutex);
  return registry().ended;
}

}  // namespace

ReadAhead::ReadAhead(Make make, int64_t step, int64_t ahead)
    : make_(std::move(make)), step_(step), ahead_(ahead) {
  check(ahead <= kMostAhead, "prefetch: ", ahead, " batches; at most ", kMostAhead,
        " can be read ahead");
  const std::lock_guard lock(registry().mutex);
  registry().live.insert(this);
}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(registry().mutex);
    registry().live.erase(this);
  }
  Stop();
}

std::shared_ptr<const void> ReadAhead::Get(int64_t number) {
  std::unique_lock lock(mutex_);
  while (!items_.empty() && items_.front().number != number) {
    used_.push_back(std::move(items_.front()));
    items_.pop_front();
  }
  if (items_.empty()) {
    if (ahead_ == 0 || ended()) {
      items_.push_back(MakeItem(number));
    } else if (!thread_.joinable() || next_ != number) {
      lock.unlock();
      Stop();
      Start(number);
      lock.lock();
    }
  }
  changed_.notify_all();
  changed_.wait(lock, [this] { return !items_.empty(); });
  const Item item = items_.front();
  if (!item.error) {
    if (!thread_.joinable()) used_.clear();
    return item.value;
  }
  lock.unlock();
  Stop();  // so that another attempt begins anew
  std::rethrow_exception(item.error);
}

ReadAhead::Item ReadAhead::MakeItem(int64_t number) const {
  Item item{number, nullptr, nullptr};
  try {
    item.value = make_(number);
  } catch (...) {
    item.error = std::current_exception();
  }
  return item;
}

// An error is the last item.
void ReadAhead::Run() {
  reads_ahead = true;
  std::unique_lock lock(mutex_);
  const auto has_room = [this] { return static_cast<int64_t>(items_.size()) <= ahead_; };
  for (bool failed = false; !failed;) {
    changed_.wait(lock, [&] { return stop_ || has_room(); });
    if (stop_) return;
    const int64_t number = next_;
    std::vector<Item> used;
    used.swap(used_);
    lock.unlock();
    used.clear();
    Item item = MakeItem(number);
    failed = item.error != nullptr;
    lock.lock();
    items_.push_back(std::move(item));
    next_ = failed ? -1 : number + step_;
    changed_.notify_all();
  }
}

void ReadAhead::Start(int64_t number) {
  next_ = number;
  thread_ = std::thread([this] { Run(); });
}

void ReadAhead::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  stop_ = false;
  items_.clear();
  used_.clear();
}

bool is_reading_ahead() { return reads_ahead; }

void stop_reading_ahead() {
  const std::lock_guard lock(registry().mutex);
  registry().ended = true;
  for (ReadAhead* reader : registry().live) reader->Stop();
}

}  // namespace pydl
