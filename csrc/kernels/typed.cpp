#include "kernels/typed.h"

#include "core/check.h"

namespace pydl::kernels {

void fail_mixed_types(DType first, DType other) {
  const auto name = [](DType t) { return t == DType::kFloat32 ? "float32" : "bfloat16"; };
  fail("the arrays of a kernel must be of one type, got ", name(first), " and ", name(other),
       "; convert one of them (EltwiseKernels::convert)");
}

}  // namespace pydl::kernels
