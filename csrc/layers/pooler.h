// What Pooling and SPP do to windows, by any method.
#pragma once

#include <array>
#include <vector>

#include "kernels/pool.h"
#include "pydl/fields.h"

namespace pydl {

enum class PoolMethod { kMax = 0, kAve = 1, kStochastic = 2 };
constexpr std::array<EnumName, 3> enum_names(PoolMethod) {
  return {{{"MAX", 0}, {"AVE", 1}, {"STOCHASTIC", 2}}};
}

// One pooling; it remembers which values it took. STOCHASTIC is for channels-last float32 only.
class Pooler {
 public:
  // What random choices depend on.
  struct Draw {
    uint64_t seed, stream;
  };

  // By STOCHASTIC one value of each window is drawn at random or, without `draw`, they are averaged
  // by value. remember: for backward and indices.
  void forward(PoolMethod method, const kernels::PoolShape& shape, ConstArray x, Array y,
               const Draw* draw, bool remember);
  // dx is overwritten. x and y are looked at where forward averaged by value only.
  void backward(PoolMethod method, const kernels::PoolShape& shape, ConstArray x, ConstArray y,
                ConstArray dy, Array dx) const;
  // Of each maximum the index in its plane, in y's layout; -1 where there is none.
  void indices(const kernels::PoolShape& shape, float* to) const;

 private:
  bool by_value_ = false;
  std::vector<std::byte> mask_;
};

}  // namespace pydl
