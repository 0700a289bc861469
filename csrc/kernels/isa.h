// Which build of the vectorised kernels runs: the best one the CPU has, or what PYDL_ISA names.
#pragma once

#include <string>
#include <vector>

namespace pydl::kernels {

// Every level can run all the earlier ones. kRef is the plain loops of kernels/ref. kAvx512Bf16
// and kAmx are for bfloat16; only kernels that gain have builds of their own for them
// (dispatch.cpp). Where PYDL_AMX_EMULATED is defined kAmx is there without AMX, but is not the
// best.
enum class Isa { kRef, kBaseline, kAvx2, kAvx512, kAvx512Bf16, kAmx };

Isa best_isa();                 // what this CPU has
Isa isa();                      // in use: PYDL_ISA or best_isa()
void set_isa(Isa isa);          // throws pydl::Error when the CPU lacks it
const char* isa_name(Isa isa);  // "ref", "baseline", "avx2", "avx512", "avx512_bf16", "amx"
Isa isa_from_name(const std::string& name);  // throws pydl::Error naming the valid ones
std::vector<Isa> available_isas();           // kRef ... best_isa()

}  // namespace pydl::kernels
