#pragma once

namespace pydl {

int num_threads();            // that a parallel loop may use: OMP_NUM_THREADS, or all cores
void set_num_threads(int n);  // throws pydl::Error for n < 1

}  // namespace pydl
