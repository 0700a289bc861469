// AMX's tiles of bfloat16, one function per instruction; where PYDL_AMX_EMULATED is defined, in
// plain C++, so that what is built on them can be tested on any machine.
#pragma once

#include "kernels/cpu/simd.h"

namespace pydl::kernels::PYDL_ISA {

constexpr int kAmxRows = 16;      // of a tile, at most
constexpr int kAmxRowBytes = 64;  // at most: 16 floats, or 16 pairs of bfloat16

// Palette 1: up to 8 tiles, each of so many rows of so many bytes.
struct alignas(64) AmxConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

#if defined(PYDL_AMX_EMULATED)

struct AmxState {
  AmxConfig config;
  float tile[8][kAmxRows][kAmxRowBytes / 4];
};

inline AmxState& amx_state() {
  static thread_local AmxState state;
  return state;
}

inline void amx_configure(const AmxConfig& config) { amx_state() = {config, {}}; }
inline void amx_release() { amx_state() = {}; }

template <int kTile>
inline void amx_zero() {
  __builtin_memset(amx_state().tile[kTile], 0, sizeof amx_state().tile[kTile]);
}

template <int kTile>
inline void amx_load(const void* from, int64_t stride) {
  AmxState& s = amx_state();
  amx_zero<kTile>();
  for (int i = 0; i < s.config.rows[kTile]; ++i) {
    __builtin_memcpy(s.tile[kTile][i], static_cast<const char*>(from) + i * stride,
                     s.config.row_bytes[kTile]);
  }
}

template <int kTile>
inline void amx_store(void* to, int64_t stride) {
  const AmxState& s = amx_state();
  for (int i = 0; i < s.config.rows[kTile]; ++i) {
    __builtin_memcpy(static_cast<char*>(to) + i * stride, s.tile[kTile][i],
                     s.config.row_bytes[kTile]);
  }
}

// TDPBF16PS: the first and the second elements of pairs are summed apart (denormals are zero), then
// added to C.
template <int kC, int kA, int kB>
inline void amx_multiply_add() {
  AmxState& s = amx_state();
  const int pairs = s.config.row_bytes[kA] / 4, columns = s.config.row_bytes[kC] / 4;
  const auto half = [](float pair, bool second) {
    uint32_t bits;
    __builtin_memcpy(&bits, &pair, sizeof bits);
    bits = second ? bits & 0xffff0000u : bits << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
  };
  for (int i = 0; i < s.config.rows[kC]; ++i) {
    for (int j = 0; j < columns; ++j) {
      float sums[2] = {};
      for (int k = 0; k < pairs; ++k) {
        for (int e = 0; e < 2; ++e) {
          sums[e] = __builtin_fmaf(half(s.tile[kA][i][k], e), half(s.tile[kB][k][j], e), sums[e]);
        }
      }
      s.tile[kC][i][j] += sums[0] + sums[1];
    }
  }
}

#else

PYDL_INLINE void amx_configure(const AmxConfig& config) {
  asm volatile("ldtilecfg %0" ::"m"(config) : "memory");
}
PYDL_INLINE void amx_release() { asm volatile("tilerelease" ::: "memory"); }

template <int kTile>
PYDL_INLINE void amx_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}

template <int kTile>
PYDL_INLINE void amx_load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
PYDL_INLINE void amx_store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
}

template <int kC, int kA, int kB>
PYDL_INLINE void amx_multiply_add() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

#endif

}  // namespace pydl::kernels::PYDL_ISA
