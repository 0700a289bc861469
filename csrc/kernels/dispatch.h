// Every family of kernels is one struct of function pointers, filled in once per instruction set:
// `ref::gemm`, and from the one source cpu/gemm.cpp `baseline::gemm`, `avx2::gemm`, `avx512::gemm`.
// PYDL_DISPATCH(GemmKernels, gemm) declares them and defines gemm_kernels(), which picks by isa().
#pragma once

#include "kernels/isa.h"

#if defined(__x86_64__)
#define PYDL_CPU_BUILDS(family) &baseline::family, &avx2::family, &avx512::family
#else
#define PYDL_CPU_BUILDS(family) &baseline::family
#endif

#define PYDL_DECLARE_BUILD(isa, Kernels, family) \
  namespace isa {                                \
  extern const Kernels family;                   \
  }

#define PYDL_DISPATCH(Kernels, family)     \
  PYDL_DECLARE_BUILD(ref, Kernels, family) \
  PYDL_DISPATCH_FROM(ref, Kernels, family)

// For a family without a reference of its own, `lowest` (baseline) stands in under Isa::kRef.
#define PYDL_DISPATCH_FROM(lowest, Kernels, family)                                         \
  PYDL_DECLARE_BUILD(baseline, Kernels, family)                                             \
  PYDL_DECLARE_BUILD(avx2, Kernels, family)                                                 \
  PYDL_DECLARE_BUILD(avx512, Kernels, family)                                               \
  const Kernels& family##_kernels() {                                                       \
    static constexpr const Kernels* kBuilds[] = {&lowest::family, PYDL_CPU_BUILDS(family)}; \
    return *kBuilds[static_cast<int>(isa())];                                               \
  }
