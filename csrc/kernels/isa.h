// Which build of the vectorised kernels runs: the best one the CPU has, or what PYDL_ISA names.
#pragma once

#include <string>
#include <vector>

namespace pydl::kernels {

// Every level can run all the earlier ones. kRef is the plain loops of kernels/ref. kAvx512Bf16 is
// for products of bfloat16; other kernels have no build of their own for it (dispatch.h).
enum class Isa { kRef, kBaseline, kAvx2, kAvx512, kAvx512Bf16 };

Isa best_isa();                              // what this CPU has
Isa isa();                                   // in use: PYDL_ISA or best_isa()
void set_isa(Isa isa);                       // throws pydl::Error when the CPU lacks it
const char* isa_name(Isa isa);               // "ref", "baseline", "avx2", "avx512", "avx512_bf16"
Isa isa_from_name(const std::string& name);  // throws pydl::Error naming the valid ones
std::vector<Isa> available_isas();           // kRef ... best_isa()

}  // namespace pydl::kernels
