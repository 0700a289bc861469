#include "pydl/threads.h"

#include "core/check.h"
#include "kernels/parallel.h"

namespace pydl {

int num_threads() { return kernels::num_threads(); }

void set_num_threads(int n) {
  check(n >= 1, "the number of threads must be at least 1, got ", n);
  kernels::set_num_threads(n);
}

}  // namespace pydl
