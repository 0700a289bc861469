// Every family of kernels is one struct of function pointers, filled in once per instruction set:
// `ref::gemm`, and from the one source cpu/gemm.cpp `baseline::gemm`, `avx2::gemm`, `avx512::gemm`.
// PYDL_DISPATCH(GemmKernels, gemm) declares them and defines gemm_kernels(), which picks by isa().
#pragma once

#include "kernels/isa.h"

#if defined(__x86_64__)
#define PYDL_BUILDS(family) &ref::family, &baseline::family, &avx2::family, &avx512::family
#else
#define PYDL_BUILDS(family) &ref::family, &baseline::family
#endif

#define PYDL_DISPATCH(Kernels, family)                             \
  namespace ref {                                                  \
  extern const Kernels family;                                     \
  }                                                                \
  namespace baseline {                                             \
  extern const Kernels family;                                     \
  }                                                                \
  namespace avx2 {                                                 \
  extern const Kernels family;                                     \
  }                                                                \
  namespace avx512 {                                               \
  extern const Kernels family;                                     \
  }                                                                \
  const Kernels& family##_kernels() {                              \
    static constexpr const Kernels* kBuilds[] = {PYDL_BUILDS(family)}; \
    return *kBuilds[static_cast<int>(isa())];                      \
  }
