// Every family of kernels is one struct of function pointers, filled in once per instruction set:
// `ref::gemm`, and from the one source cpu/gemm.cpp `baseline::gemm`, `avx2::gemm`, `avx512::gemm`.
// PYDL_DISPATCH(GemmKernels, gemm) declares them and defines gemm_kernels(), which picks by isa().
#pragma once

#include "kernels/isa.h"

// PYDL_DISPATCH_BF16 is for those that gain from instructions for bfloat16; the others take their
// avx512 build at the levels above.
#if defined(__x86_64__)
#define PYDL_CPU_BUILDS(family) &baseline::family, &avx2::family, &avx512::family, &avx512::family
#define PYDL_CPU_BUILDS_BF16(family) \
  &baseline::family, &avx2::family, &avx512::family, &avx512_bf16::family
#else
#define PYDL_CPU_BUILDS(family) &baseline::family
#define PYDL_CPU_BUILDS_BF16(family) &baseline::family
#endif

#define PYDL_DECLARE_BUILD(isa, Kernels, family) \
  namespace isa {                                \
  extern const Kernels family;                   \
  }

// `lowest`: what runs under Isa::kRef. `builds`: PYDL_CPU_BUILDS or PYDL_CPU_BUILDS_BF16.
#define PYDL_DEFINE_DISPATCH(lowest, builds, Kernels, family)                      \
  PYDL_DECLARE_BUILD(baseline, Kernels, family)                                    \
  PYDL_DECLARE_BUILD(avx2, Kernels, family)                                        \
  PYDL_DECLARE_BUILD(avx512, Kernels, family)                                      \
  PYDL_DECLARE_BUILD(avx512_bf16, Kernels, family)                                 \
  const Kernels& family##_kernels() {                                              \
    static constexpr const Kernels* kBuilds[] = {&lowest::family, builds(family)}; \
    return *kBuilds[static_cast<int>(isa())];                                      \
  }

#define PYDL_DISPATCH(Kernels, family)     \
  PYDL_DECLARE_BUILD(ref, Kernels, family) \
  PYDL_DEFINE_DISPATCH(ref, PYDL_CPU_BUILDS, Kernels, family)

#define PYDL_DISPATCH_BF16(Kernels, family) \
  PYDL_DECLARE_BUILD(ref, Kernels, family)  \
  PYDL_DEFINE_DISPATCH(ref, PYDL_CPU_BUILDS_BF16, Kernels, family)

// For a family without a reference of its own, `lowest` (baseline) stands in under Isa::kRef.
#define PYDL_DISPATCH_FROM(lowest, Kernels, family) \
  PYDL_DEFINE_DISPATCH(lowest, PYDL_CPU_BUILDS, Kernels, family)
#define PYDL_DISPATCH_BF16_FROM(lowest, Kernels, family) \
  PYDL_DEFINE_DISPATCH(lowest, PYDL_CPU_BUILDS_BF16, Kernels, family)
