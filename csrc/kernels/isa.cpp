#include "kernels/isa.h"

#include <atomic>
#include <cstdlib>

#include "core/check.h"

namespace pydl::kernels {
namespace {

constexpr const char* kNames[] = {"ref", "baseline", "avx2", "avx512", "avx512_bf16"};
constexpr Isa kLast = Isa::kAvx512Bf16;

std::vector<std::string> names_up_to(Isa last) {
  return {kNames, kNames + static_cast<int>(last) + 1};
}

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512cd");
  const bool avx512_bf16 = __builtin_cpu_supports("avx512bf16");
  if (avx2 && avx512 && avx512_bf16) return Isa::kAvx512Bf16;
  if (avx2 && avx512) return Isa::kAvx512;
  if (avx2) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

Isa supported(Isa isa) {
  check(isa <= best_isa(), "this CPU has no ", isa_name(isa),
        "; available instruction sets: ", joined(names_up_to(best_isa())));
  return isa;
}

Isa initial_isa() {
  const char* name = std::getenv("PYDL_ISA");
  if (name == nullptr || *name == '\0') return best_isa();
  try {
    return supported(isa_from_name(name));
  } catch (const Error& e) {
    fail("environment variable PYDL_ISA=", name, ": ", e.what());
  }
}

constexpr int kUnset = -1;
std::atomic<int> current{kUnset};

}  // namespace

Isa best_isa() {
  static const Isa best = detect();
  return best;
}

Isa isa() {
  const int value = current.load(std::memory_order_relaxed);
  if (value != kUnset) return static_cast<Isa>(value);
  set_isa(initial_isa());
  return isa();
}

void set_isa(Isa isa) {
  current.store(static_cast<int>(supported(isa)), std::memory_order_relaxed);
}

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

Isa isa_from_name(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(kLast); ++i) {
    if (name == kNames[i]) return static_cast<Isa>(i);
  }
  const auto all = names_up_to(kLast);
  fail("unknown instruction set \"", name, "\"", did_you_mean(name, all),
       "; the names are: ", joined(all));
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (int i = 0; i <= static_cast<int>(best_isa()); ++i) isas.push_back(static_cast<Isa>(i));
  return isas;
}

}  // namespace pydl::kernels
