#include "kernels/conv_autotune.h"

#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>

#include "core/check.h"
#include "core/memory.h"
#include "core/verbose.h"
#include "kernels/conv_implementations.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"

namespace pydl::kernels {
namespace {

// Small numbers, exact in either type; no kernel takes longer or shorter for them than for others.
class TestArray {
 public:
  TestArray(int64_t count, DType dtype)
      : memory_(allocate(count * bytes_of(dtype))), dtype_(dtype) {
    with_type(array(), [count](auto* values) {
      for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 13 - 6) / 64;
    });
  }
  Array array() const { return {memory_.get(), dtype_}; }
  float* floats() const { return reinterpret_cast<float*>(memory_.get()); }

 private:
  std::shared_ptr<std::byte> memory_;
  DType dtype_;
};

// Arrays for all passes of a problem.
class Trial {
 public:
  explicit Trial(const ConvShape& s)
      : x_(s.n * s.in_count() * s.ic, s.dtype),
        y_(s.n * s.out_count() * s.oc, s.dtype),
        w_(s.oc * (s.ic / s.group) * s.kernel_count(), DType::kFloat32),
        bias_(s.oc, DType::kFloat32),
        learns_(s.learns) {}

  // Of the fastest of a few runs, in milliseconds. The first ones do what is done once: they fetch
  // memory and, where weights stay, prepare them.
  double time(Conv* conv, ConvPass pass) const {
    constexpr int kRuns = 5;
    double best = 0;
    for (int i = 0; i < kRuns; ++i) {
      const auto start = std::chrono::steady_clock::now();
      if (learns_) conv->weights_changed();
      run(conv, pass);
      const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - start;
      if (i == 0 || ms.count() < best) best = ms.count();
    }
    return best;
  }

 private:
  void run(Conv* conv, ConvPass pass) const {
    if (pass == ConvPass::kForward) {
      conv->forward(x_.array(), w_.floats(), {bias_.floats(), true}, y_.array());
    } else if (pass == ConvPass::kBackwardData) {
      conv->backward_data(y_.array(), w_.floats(), {}, x_.array());
    } else {
      conv->backward_weights(x_.array(), y_.array(), w_.floats(), bias_.floats());
    }
  }

  const TestArray x_, y_, w_, bias_;
  const bool learns_;
};

// All that accept the problem and have the pass; the reference only if there is no other.
ConvList candidates(const ConvShape& shape, ConvPass pass) {
  ConvList list;
  for (const ConvImplementation* i : conv_list()) {
    if (i->accepts(shape) && i->has(pass)) list.push_back(i);
  }
  if (list.size() > 1 && list.back() == &conv_ref) list.pop_back();
  return list;
}

std::string problem_text(const ConvShape& s, ConvPass pass) {
  static constexpr const char* kPasses[] = {"forward", "backward_data", "backward_weights"};
  return text(kPasses[static_cast<int>(pass)], " ", s.text(), " ",
              s.dtype == DType::kBFloat16 ? "bfloat16" : "float32", s.learns ? " learning " : " ",
              isa_name(isa()), " threads ", num_threads());
}

const ConvImplementation* time_all(const ConvList& list, const ConvShape& shape, ConvPass pass) {
  const Trial trial(shape);
  const ConvImplementation* best = nullptr;
  double best_ms = 0;
  std::string times;
  for (const ConvImplementation* how : list) {
    const double ms = trial.time(how->make(shape).get(), pass);
    if (!best || ms < best_ms) {
      best = how;
      best_ms = ms;
    }
    char number[32];
    std::snprintf(number, sizeof number, " %.3f ms", ms);
    times += text(times.empty() ? "" : ", ", how->name, number);
  }
  if (verbose()) {
    std::fprintf(stderr, "pydl autotune %s: %s of %s\n", problem_text(shape, pass).c_str(),
                 best->name, times.c_str());
  }
  return best;
}

struct Choices {
  std::mutex mutex;
  // By problem_text and arithmetic, which says what the candidates are.
  std::map<std::pair<std::string, Arithmetic>, const ConvImplementation*> made;
};

Choices& choices() {
  static Choices all;
  return all;
}

}  // namespace

const ConvImplementation& fastest_conv(const ConvShape& shape, ConvPass pass) {
  const ConvList list = candidates(shape, pass);
  if (list.size() == 1) return *list.front();
  const std::lock_guard lock(choices().mutex);
  const ConvImplementation*& choice = choices().made[{problem_text(shape, pass), shape.arithmetic}];
  if (!choice) choice = time_all(list, shape, pass);
  return *choice;
}

int64_t timed_convs() {
  const std::lock_guard lock(choices().mutex);
  return static_cast<int64_t>(choices().made.size());
}

}  // namespace pydl::kernels
