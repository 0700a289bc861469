// Every family of kernels is one struct of function pointers, filled in once per instruction set:
// `ref::gemm`, and from the one source cpu/gemm.cpp `baseline::gemm`, `avx2::gemm`, `avx512::gemm`.
// PYDL_DISPATCH declares them and defines gemm_kernels(), which picks by isa().
#pragma once

#include "kernels/isa.h"

// By the highest instruction set that has a build: levels above it take that one.
#if defined(__x86_64__)
#define PYDL_BUILDS_UP_TO_avx512(family) \
  &baseline::family, &avx2::family, &avx512::family, &avx512::family, &avx512::family
#define PYDL_BUILDS_UP_TO_avx512_bf16(family) \
  &baseline::family, &avx2::family, &avx512::family, &avx512_bf16::family, &avx512_bf16::family
#define PYDL_BUILDS_UP_TO_amx(family) \
  &baseline::family, &avx2::family, &avx512::family, &avx512_bf16::family, &amx::family
#else
#define PYDL_BUILDS_UP_TO_avx512(family) &baseline::family
#define PYDL_BUILDS_UP_TO_avx512_bf16(family) &baseline::family
#define PYDL_BUILDS_UP_TO_amx(family) &baseline::family
#endif

#define PYDL_DECLARE_BUILD(isa, Kernels, family) \
  namespace isa {                                \
  extern const Kernels family;                   \
  }

// `lowest`: what runs under Isa::kRef, `ref` or, for a family without a reference of its own,
// `baseline`. `highest`: as in sources.cmake.
#define PYDL_DISPATCH(Kernels, family, lowest, highest)                                \
  PYDL_DECLARE_BUILD(ref, Kernels, family)                                             \
  PYDL_DECLARE_BUILD(baseline, Kernels, family)                                        \
  PYDL_DECLARE_BUILD(avx2, Kernels, family)                                            \
  PYDL_DECLARE_BUILD(avx512, Kernels, family)                                          \
  PYDL_DECLARE_BUILD(avx512_bf16, Kernels, family)                                     \
  PYDL_DECLARE_BUILD(amx, Kernels, family)                                             \
  const Kernels& family##_kernels() {                                                  \
    static constexpr const Kernels* kBuilds[] = {&lowest::family,                      \
                                                 PYDL_BUILDS_UP_TO_##highest(family)}; \
    return *kBuilds[static_cast<int>(isa())];                                          \
  }
