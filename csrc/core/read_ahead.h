// Makes what will be needed next, in a thread of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace pydl {

// Items numbered in steps: first, first + step, first + 2 step, ...
class ReadAhead {
 public:
  // Is called by one thread at a time.
  using Make = std::function<std::shared_ptr<const void>(int64_t number)>;

  // `ahead`: how many items may wait to be asked for; 0: no thread, each is made when asked for.
  ReadAhead(Make make, int64_t step, int64_t ahead);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // The item, once it is made; from now on those behind it are. What make() threw is thrown here.
  // The item stays until another is asked for.
  std::shared_ptr<const void> Get(int64_t number);

 private:
  friend void stop_reading_ahead();
  struct Item {
    int64_t number = 0;
    std::shared_ptr<const void> value;
    std::exception_ptr error;
  };
  Item MakeItem(int64_t number) const;
  void Run();
  void Start(int64_t number);
  void Stop();

  const Make make_;
  const int64_t step_, ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;  // the one asked for last, and those ready behind it
  std::vector<Item> used_;  // to be freed by the thread: that may take time
  int64_t next_ = 0;        // the number that is made now
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace pydl
